"""The environment of the master's children: what they need of it, and no secret."""

import os
import site
import subprocess
import sys
from pathlib import Path

import gateway
from gateway.supervisor.processes import environment as module
from gateway.supervisor.processes.environment import database_variables, environment


def test_the_environment_holds_no_password():
    given = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "SSL_CERT_FILE": "/etc/roots.pem",
        "PYTHONUTF8": "1",
        "MAIL_KEY_PASSWORD": "secret",
        "PGPASSWORD": "secret",
        "LANGUAGE": "de",
        "PYTHON_TOKEN": "secret",
        "LC_API_KEY": "secret",
    }
    kept = environment(given)
    assert "secret" not in kept.values()
    assert {name: kept[name] for name in ("PATH", "LC_ALL", "TZ", "SSL_CERT_FILE", "PYTHONUTF8")} == {
        name: given[name] for name in ("PATH", "LC_ALL", "TZ", "SSL_CERT_FILE", "PYTHONUTF8")
    }


def test_it_finds_the_package_that_runs_here(monkeypatch):
    root = str(Path(gateway.__file__).parent.parent)
    monkeypatch.setattr(site, "getsitepackages", list)
    assert environment({})["PYTHONPATH"] == root
    assert environment({"PYTHONPATH": "/x"})["PYTHONPATH"] == f"{root}:/x"
    assert environment(environment({"PYTHONPATH": "/x"}))["PYTHONPATH"] == f"{root}:/x"
    monkeypatch.setattr(site, "getsitepackages", lambda: [root])
    assert "PYTHONPATH" not in environment({})


def test_the_database_library_gets_its_own():
    assert database_variables({"PGPASSWORD": "secret", "PATH": "/bin"}) == {"PGPASSWORD": "secret"}


def test_what_no_message_can_carry_is_said(caplog):
    assert database_variables({"PGPASSWORD": os.fsdecode(b"\xe4"), "PGUSER": "gateway"}) == {"PGUSER": "gateway"}
    assert "PGPASSWORD is not UTF-8" in caplog.text


FORGETS = """
import ctypes, os, pathlib
from gateway.supervisor.processes.environment import forget_the_rest
os.environ["LATER"] = "a secret that was set later"
forget_the_rest()
find = ctypes.CDLL(None).getenv
find.restype = ctypes.c_char_p
print({"SECRET", "LATER"} & set(os.environ), os.environ["TZ"])
print([find(name) for name in (b"SECRET", b"LATER", b"TZ")])
print(pathlib.Path("/proc/self/environ").read_bytes().strip(bytes(1)))
"""


def test_a_fork_forgets_the_environment_of_its_program():
    """Python's own view, that of libraries, and the memory that the kernel shows are three things."""
    variables = {"SECRET": "a secret", "TZ": "UTC", "PYTHONPATH": str(Path(gateway.__file__).parent.parent)}
    ran = subprocess.run([sys.executable, "-c", FORGETS], env=variables, check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["set() UTC", "[None, None, b'UTC']", "b''"]


def test_without_proc_the_variables_are_gone_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_STAT", tmp_path / "nowhere")
    monkeypatch.setattr(os, "environ", {"SECRET": "a secret", "TZ": "UTC"})
    module.forget_the_rest()
    assert "SECRET" not in os.environ
    assert os.environ["TZ"] == "UTC"
