"""Commands in forks of a process that has imported everything: they end, print and see what started ones do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import warm_gateway


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch):
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


def started(*arguments, cwd, env):
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture
def is_forked(monkeypatch):
    """Fails where the command would be started."""
    monkeypatch.setattr(subprocess, "run", None)


def told(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("cert", "--help"), 0), (("check", "-c", "there is none.yaml"), 2), (("cert", "issue", "a@example.com"), 2)],
)
def test_exit_code_and_output_are_those_of_a_started_command(tmp_path, arguments, code):
    expected = started(*arguments, cwd=tmp_path, env=dict(os.environ))
    assert told(warm_gateway.run(arguments, cwd=tmp_path)) == told(expected)
    assert expected.returncode == code, expected


@pytest.mark.usefixtures("is_forked")
def test_each_command_has_its_own_folder_and_environment(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        env = {**os.environ, "GATEWAY_CA_PASSPHRASE": f"correct horse {name}"}
        done = warm_gateway.run(("ca", "init", name, "--key", "ecdsa-p256"), cwd=folder, env=env)
        assert done.returncode == 0, done.stderr
        assert (folder / "pki" / name / f"{name}.crt").exists()
        other = warm_gateway.run(("ca", "crl", name), cwd=folder, env={**env, "GATEWAY_CA_PASSPHRASE": "another one"})
        assert (other.returncode, "the passphrase does not open the key" in other.stderr) == (2, True), other


@pytest.mark.usefixtures("is_forked")
def test_a_command_that_does_not_end_is_killed(tmp_path):
    (tmp_path / "access.jsonl").touch()
    with pytest.raises(subprocess.TimeoutExpired):
        warm_gateway.run(("logs", "--follow", "access.jsonl"), cwd=tmp_path, seconds=0.5)
    assert warm_gateway.run(("--version",)).returncode == 0


@pytest.mark.parametrize("name", ["PYTHONUTF8", "LC_ALL", "COVERAGE_PROCESS_CONFIG"])
def test_what_a_process_reads_at_its_start_makes_it_a_started_one(monkeypatch, name):
    monkeypatch.setattr(warm_gateway, "_server", None)
    seen = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: seen.append(command))
    warm_gateway.run(("--version",), env={**os.environ, name: "0"})
    assert seen == [[sys.executable, "-m", "gateway", "--version"]]
