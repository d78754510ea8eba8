"""`gateway check` and `gateway schema`, as a user calls them."""

import json

import pytest
from cryptography import x509
from support.config_files import BASE, NOW, YEAR, fill
from support.pki import Ca

from gateway import clock
from gateway.cli.app import run


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    path = tmp_path_factory.mktemp("check")
    fill(path)
    return path


@pytest.fixture
def folder(shared, monkeypatch):
    """The files are good in the year they were made for."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.chdir(shared)
    return shared


def test_a_good_file_is_one_line_on_stdout(folder, capsys):
    (folder / "config.yaml").write_text(BASE, encoding="utf-8")
    assert run(["check"]) == 0
    assert capsys.readouterr() == ("config.yaml: good: 1 site, 2 rules, 1 listener\n", "")


def test_warnings_do_not_fail(folder, capsys):
    (folder / "odd.yaml").write_text(BASE.replace("mail.crt", "soon.crt"), encoding="utf-8")
    assert run(["check", "-c", "odd.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == "odd.yaml: good: 1 site, 2 rules, 1 listener, 1 warning\n"
    assert err == (
        "odd.yaml:5:18: warning: sites[0].certificate: the certificate expires 2026-06-30 12:00:00 UTC; renew it\n"
    )


def test_every_problem_is_a_line_on_stderr(folder, capsys):
    text = BASE.replace("action: allow", "action: permit").replace("sites:", "sights:")
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert run(["check", "--config", "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "bad.yaml:3:1: sights: unknown key; did you mean sites?",
        "bad.yaml:15:13: rules[0].action: 'permit' is not an action; write allow, require_certificate or deny",
    ]


@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_unusable_input(capsys):
    assert run(["check", "-c", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.yaml:1:1: nowhere.yaml does not exist; ")


def test_json_has_the_same_in_parts(folder, capsys):
    (folder / "bad.yaml").write_text(BASE.replace("mail.crt", "expired.crt"), encoding="utf-8")
    assert run(["check", "--json", "-c", "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "ok": False,
        "errors": [
            {
                "file": "bad.yaml",
                "line": 5,
                "column": 18,
                "path": "sites[0].certificate",
                "problem": "the certificate expired 2026-05-31 12:00:00 UTC",
                "remedy": "renew it",
            }
        ],
        "warnings": [],
    }


def test_json_counts_a_good_file(folder, capsys):
    (folder / "config.yaml").write_text(BASE, encoding="utf-8")
    assert run(["check", "--json"]) == 0
    counts = {"sites": 1, "rules": 2, "listeners": 1}
    assert json.loads(capsys.readouterr().out) == {"ok": True, "errors": [], "warnings": [], **counts}


def test_schema_prints_json_or_markdown(capsys):
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False
    assert run(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# The configuration file\n")


def test_what_could_not_be_served_is_found_too(folder, capsys):
    """A list of changes only is a good list, and of no use to the gateway: `run` would refuse it."""
    ca = Ca.make(not_before=NOW, not_after=NOW + YEAR)
    (folder / "changes.pem").write_bytes(ca.pem)
    (folder / "changes.crl").write_bytes(ca.crl(last_update=NOW, extensions=[(x509.DeltaCRLIndicator(1), True)]))
    site = "client_ca: [changes.pem]\n    crl: [changes.crl]"
    (folder / "config.yaml").write_text(BASE.replace("client_ca: [ca.pem]", site))
    assert run(["check"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("config.yaml:1:1: ")
    assert "changes.crl" in told.err
