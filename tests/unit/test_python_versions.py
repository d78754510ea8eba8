"""The versions of Python: what the image ships is what CI tests, and what is tested is what we say is."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED = set(re.findall(r"(?m)^FROM python:(\d+\.\d+)-", (ROOT / "Dockerfile").read_text()))
OLDEST = PROJECT["project"]["requires-python"].removeprefix(">=")
TOOLS = ("bash", "dirname", "env", "grep", "sed")


@pytest.fixture
def machine(tmp_path):
    """A machine with nothing but what `.ci/run` calls; `make` writes down its arguments and fails at `fails_at`."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(next(f for p in ("/usr/bin", "/bin") if (f := Path(p, tool)).exists()))

    def run(*pythons, fails_at="-"):
        program(tmp_path / "make", f'echo "$@" >>{tmp_path}/made; [ "$1" != {fails_at} ]')
        for name, version in pythons:
            program(tmp_path / name, f"echo {version}" if version else "exit 127")
        done = subprocess.run([ROOT / ".ci/run"], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
        return done.returncode == 0, (tmp_path / "made").read_text().splitlines()

    return run


def program(path, text):
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


def test_the_image_has_one_version_and_the_project_names_the_tested_ones():
    (shipped,) = SHIPPED
    prefix = "Programming Language :: Python :: "
    named = {line.removeprefix(prefix) for line in PROJECT["project"]["classifiers"] if line.startswith(prefix)}
    assert named == {OLDEST, shipped}
    for page in ("README.md", "docs/install.md"):
        text = " ".join((ROOT / page).read_text().split())
        assert re.search(rf"on {re.escape(OLDEST)} and (on )?{re.escape(shipped)}\b", text), page


def test_both_stages_have_the_same_bytes():
    bases = re.findall(r"(?m)^FROM (\S+)", (ROOT / "Dockerfile").read_text())
    assert len(bases) == 2
    assert re.fullmatch(r"python:\d+\.\d+-slim@sha256:[0-9a-f]{64}", bases[0])
    assert bases[0] == bases[1]


def test_linter_and_locked_requirements_hold_to_the_oldest_version():
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + OLDEST.replace(".", "")
    assert f"--universal --python-version {OLDEST} " in (ROOT / "Makefile").read_text()


def test_ci_runs_the_whole_suite_on_the_images_version_and_the_short_one_on_the_installed(machine, tmp_path):
    (shipped,) = SHIPPED
    succeeded, made = machine(("python3", "3.1"), (f"python{shipped}", shipped))
    whole = f"test PYTHON={tmp_path}/python{shipped} VENV=.venv-{shipped}"
    assert (succeeded, made) == (True, ["check", "short", whole])


@pytest.mark.parametrize("shim", [(), (None,)], ids=["missing", "a shim that fails"])
def test_ci_runs_the_whole_suite_on_what_there_is(machine, shim):
    (shipped,) = SHIPPED
    assert machine(("python3", "3.1"), *((f"python{shipped}", each) for each in shim)) == (True, ["check", "test"])


def test_ci_runs_the_suite_once_where_the_installed_version_is_the_images(machine):
    assert machine(("python3", *SHIPPED)) == (True, ["check", "test"])


@pytest.mark.parametrize("target", ["check", "short", "test"])
def test_ci_fails_where_either_run_fails(machine, target):
    (shipped,) = SHIPPED
    succeeded, made = machine(("python3", "3.1"), (f"python{shipped}", shipped), fails_at=target)
    assert not succeeded
    assert made[-1].split()[0] == target


def test_an_interpreter_is_found_by_its_version():
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    own = "{}.{}".format(*sys.version_info)
    command = [ROOT / ".ci/interpreter", own]
    found = subprocess.run(command, env=path, capture_output=True, text=True, check=True).stdout.strip()
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"Python {own}.")


def test_an_interpreter_that_only_pyenv_knows_is_found(tmp_path):
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(next(f for p in ("/usr/bin", "/bin") if (f := Path(p, tool)).exists()))
    (tmp_path / "9.8.1/bin").mkdir(parents=True)
    program(tmp_path / "9.8.1/bin/python", "echo 9.8")
    program(tmp_path / "python9.8", "exit 127")
    program(tmp_path / "pyenv", f'case $1 in versions) echo 9.80.1; echo 9.8.1;; prefix) echo {tmp_path}/"$2";; esac')
    command = [ROOT / ".ci/interpreter", "9.8"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/9.8.1/bin/python\n"
    assert subprocess.run([*command[:1], "9.9"], env={"PATH": str(tmp_path)}, check=False).returncode == 1
