"""`gateway logs --why` explains staged incidents from log and registry alone, and its commands run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from support.desk import NOW, PASSPHRASE
from support.docs import blocks
from support.incidents import ALICE, INCIDENTS, Incident, Stage, renewed_but_old_in_use
from support.phone_calls import CALLS
from support.pki import Ca, server

from gateway import clock
from gateway.cli.app import run

GOLDEN = Path(__file__).parents[2] / "golden" / "why"
FIRST_SERIAL = 0x4C8A01
CONFIG = """\
listen: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:1"}
sites: [{hosts: [mail.example.com], certificate: server.crt, key: server.key, client_ca: [ca.crt], upstream: mail}]
upstreams: {mail: {servers: ["http://127.0.0.1:2"]}}
rules:
  - {name: From inside, from: internal, action: allow}
  - {name: Webmail and ActiveSync from outside, action: require_certificate}
access_log: {path: access.jsonl}
pki: {store: "sqlite:///pki/registry.db", folder: pki}
"""
CONFIGURED = {"expired", "wrong-ca", "list-ended", "on-hold", "lockout", "upstream-down", "path-denied", "rule-edited"}
CONFIGURED |= {"other-network", "other-device", "wrong-login"}
NEEDS_CONFIG = ("gateway status", "gateway explain", "gateway check")


def named(incidents):
    return pytest.mark.parametrize("incident", incidents, ids=[each.name for each in incidents])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, at noon of a day in UTC; serial numbers count up."""
    numbers = count(FIRST_SERIAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("GATEWAY_PKI_STORE", raising=False)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(x509, "random_serial_number", lambda: next(numbers))
    time.tzset()
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


def staged(incident: Incident, folder: Path) -> None:
    stage = Stage(folder)
    incident.stage(stage)
    stage.write()


def why(who: str, *options: str, capsys, code: int = 0) -> str:
    assert run(["logs", "--why", who, *options]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


@named((*INCIDENTS, *CALLS))
def test_each_incident_is_explained_as_it_was_reviewed(incident, here, capsys, monkeypatch):
    """To review a changed text: delete its file and run the test twice."""
    staged(incident, here)
    verdict = json.loads(why(incident.who, "access.jsonl", "--json", capsys=capsys))["verdict"]
    assert verdict["cause"] == incident.cause
    assert all(word in verdict["text"] for word in incident.words), verdict["text"]
    assert incident.command in verdict["command"]

    text = re.sub(r"\b[0-9a-f]{64}\b", "FINGERPRINT", why(incident.who, "access.jsonl", capsys=capsys))
    golden = GOLDEN / f"{incident.name}.txt"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
        pytest.fail(f"{golden} was missing and has been written: review it")
    assert text == golden.read_text(encoding="utf-8")

    if not verdict["command"].startswith(NEEDS_CONFIG):  # they are to be run where config.yaml is
        runs(verdict["command"], capsys, monkeypatch)


@named([each for each in INCIDENTS if each.name in CONFIGURED])
def test_with_a_configuration_the_commands_run_too(incident, here, capsys, monkeypatch):
    dates = {"not_before": NOW - timedelta(days=1), "not_after": NOW + timedelta(days=300)}
    Ca.make("CN=Test Root", **dates).write(here, "ca")
    server(here)
    (here / "server.key").chmod(0o600)
    (here / "config.yaml").write_text(CONFIG)
    staged(incident, here)
    verdict = json.loads(why(incident.who, "--json", capsys=capsys))["verdict"]
    assert verdict["cause"] == incident.cause
    assert " -c config.yaml" in verdict["command"]
    runs(verdict["command"], capsys, monkeypatch)


def runs(command: str, capsys, monkeypatch) -> None:
    """It exists, takes these options, and does its work; only no gateway answers."""
    monkeypatch.setenv("GATEWAY_CA_PASSPHRASE", PASSPHRASE)
    words = shlex.split(command)
    if words[0] != "gateway":
        assert subprocess.run(words, check=False, capture_output=True).returncode == 0
        return
    code = run(words[1:])
    out, err = capsys.readouterr()
    if words[1] == "status":
        assert (code, "no gateway answers" in err) == (1, True), err
    else:
        assert code == 0 or (words[1] == "logs" and code == 1 and not err), (code, out, err)


def test_the_documentation_shows_a_real_answer(here, capsys):
    renewed_but_old_in_use(stage := Stage(here))
    stage.write()
    example = next(block.text for block in blocks("logs.md", "console") if "--why" in block.text.split("\n", 1)[0])
    command, _, text = example.partition("\n")
    words = shlex.split(command.removeprefix("$ "))
    assert words[:2] == ["gateway", "logs"]
    assert why(ALICE, *words[4:], capsys=capsys) == text
