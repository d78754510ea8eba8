"""What a process beside the workers is started with: nothing that it doesn't need."""

import site
from pathlib import Path

import gateway
from gateway.supervisor.program import environment


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
    monkeypatch.setattr(site, "getsitepackages", lambda: [root])
    assert "PYTHONPATH" not in environment({})
