"""The command's frame: exit codes, messages without a traceback, and a start that nobody waits for."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from gateway import __version__
from gateway.cli import app as app_module
from gateway.cli.app import COMMANDS, main, run
from gateway.config.problems import ConfigErrors, Mark, Place, Problem
from gateway.errors import ConfigError, OperationError, UsageError


class Failing:
    """A command module whose command ends in the given way."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def register(self, app) -> None:
        @app.command("fail")
        def fail() -> None:
            raise self._error


@pytest.fixture
def run_failing(monkeypatch):
    def run_it(error):
        monkeypatch.setattr(app_module, "COMMANDS", ("schema", "fail"))
        real = app_module.import_module
        monkeypatch.setattr(
            app_module, "import_module", lambda name: Failing(error) if name.endswith(".fail") else real(name)
        )
        return run(["fail"])

    return run_it


@pytest.mark.parametrize(("error", "code"), [(UsageError, 2), (ConfigError, 2), (OperationError, 1)])
def test_a_failure_is_a_cause_and_a_remedy_on_stderr(run_failing, capsys, error, code):
    assert run_failing(error("the disk is full", "delete something")) == code
    assert capsys.readouterr() == ("", "gateway: the disk is full\n  Delete something.\n")


def test_a_failure_without_a_remedy_is_one_line(run_failing, capsys):
    assert run_failing(OperationError("the disk is full")) == 1
    assert capsys.readouterr().err == "gateway: the disk is full\n"


def test_a_files_problems_are_a_line_each(run_failing, capsys):
    problem = Problem("c.yaml", Place(Mark(3, 4), "rules"), "is wrong", "write it right")
    warning = Problem("c.yaml", Place(Mark(1, 1), ""), "is odd", is_warning=True)
    assert run_failing(ConfigErrors((problem,), (warning,))) == 2
    assert capsys.readouterr().err == "c.yaml:3:4: rules: is wrong; write it right\nc.yaml:1:1: warning: is odd\n"


def test_ctrl_c_exits_with_130(run_failing):
    assert run_failing(KeyboardInterrupt()) == 130


def test_another_exception_is_a_bug_and_is_not_hidden(run_failing):
    with pytest.raises(ZeroDivisionError):
        run_failing(ZeroDivisionError())


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"gateway {__version__}\n"


@pytest.mark.parametrize("arguments", [["nope"], ["schema", "--nope"], ["check", "--config"]])
def test_a_wrong_command_line_exits_with_2(capsys, arguments):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "check " in out
    assert "schema " in out


def test_every_command_has_its_module():
    assert [name for name in COMMANDS if find_spec(f"gateway.cli.{name}") is None] == []


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nope"], 2)])
def test_main_exits_with_the_commands_code(arguments, code):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == code
    done = subprocess.run([sys.executable, "-m", "gateway", *arguments], capture_output=True, check=False)
    assert done.returncode == code


def test_a_command_hardly_looks_for_garbage_among_what_it_imports():
    """The dozens of looks that Python would take were a third of the time of `gateway check`."""
    code = (
        "import atexit, gc, sys; from gateway.cli.app import main; looks = [];"
        "gc.callbacks.append(lambda phase, info: phase == 'start' and looks.append(info));"
        "atexit.register(lambda: print(len(looks) <= 3, gc.get_freeze_count() > 10_000));"
        "sys.argv[1:] = ['check', '--config', 'nowhere.yaml']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "True True\n")


def test_a_reader_that_goes_away_ends_the_command_quietly():
    command = [sys.executable, "-c", "from gateway.cli.app import main; main(['schema'])"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_help_imports_nothing_heavy():
    """What makes `gateway --help` fast: neither cryptography nor an event loop nor Rich is imported for it."""
    heavy = {"cryptography", "OpenSSL", "asyncio", "uvloop", "yaml", "rich", "sqlalchemy", "aiohttp", "jinja2"}
    code = (
        "import sys; from gateway.cli import app; app.run(['--help']);"
        f"sys.exit(repr(sorted({heavy!r} & set(sys.modules))) if {heavy!r} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
