"""`gateway explain --log` tells from one gateway's log what another one, with edited rules, really decides."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode

import pytest
from support.client import Client
from support.gateway import OUTSIDE, settings_for

pytestmark = pytest.mark.e2e

WITH_CERTIFICATE = ["/webmail", "/closed", "/Microsoft-Server-ActiveSync"]
BEFORE = [
    {"name": "Open", "uri": ["/open", "/bound"], "action": "allow"},
    {"name": "Any certificate", "uri": WITH_CERTIFICATE, "action": "require_certificate"},
    {"name": "Rest", "action": "deny"},
]
AFTER = [
    {"name": "Closed", "uri": ["/closed"], "action": "deny"},
    {"name": "New", "uri": ["/new"], "action": "allow"},
    {
        "name": "Bound",
        "uri": ["/webmail", "/bound", "/Microsoft-Server-ActiveSync"],
        "action": "require_certificate",
        "certificate": {"email": ["bob@*"], "bind_user": "email"},
    },
    {"name": "Open", "uri": ["/open"], "action": "allow"},
    {"name": "Rest", "action": "deny"},
]
EAS = "/Microsoft-Server-ActiveSync?Cmd=Ping&User=bob&DeviceId=D1&DeviceType=phone"
# A certificate, a path of its own for each, a login, and what the log can't tell.
CASES = [
    (None, "/webmail/1", None, None),
    (None, "/closed/2", None, None),
    (None, "/new/3", None, None),
    (None, "/rest/4", None, None),
    (None, "/open/5", None, None),
    (None, "/bound/6", None, "certificate"),
    ("v3", "/bound/7", None, "trust"),
    ("v3", "/webmail/8", None, None),
    ("v3", "/webmail/9", "bob", None),
    ("v3", "/webmail/10", "alice", "email"),
    ("v3", EAS, "bob@example.com", None),
    ("alice", "/webmail/12", "alice", "email"),
    ("expired", "/webmail/13", None, None),
    ("stranger", "/webmail/14", None, None),
    ("p256", "/webmail/15", None, None),
    ("unreadable", "/webmail/16", None, "trust"),
    ("v3", "/webmail/17?q=1", None, None),
]


@pytest.fixture(scope="module")
def gateways(start, credentials, mail):
    return [start(settings_for(credentials.site, mail.url, rules=rules)) for rules in (BEFORE, AFTER)]


def decided(gateway, credentials):
    """By path: the reason that the gateway gives."""
    for name, target, user, _ in CASES:
        fields = () if user is None else (f"Authorization: Basic {b64encode(f'{user}:x'.encode()).decode()}",)
        identity = None if name is None else credentials[name]
        with Client(gateway.port, source=OUTSIDE, identity=identity) as client:
            client.ask("GET", target, *fields)
    return {record["uri"]: record["reason"] for record in gateway.log.of_address(OUTSIDE, len(CASES))}


def test_what_is_told_is_what_the_edited_rules_decide(gateways, credentials):
    before, after = (decided(gateway, credentials) for gateway in gateways)
    command = [sys.executable, "-m", "gateway", "explain", "-c", str(gateways[1].config)]
    command += ["--log", str(gateways[0].log.path), "--json"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    told = {change["path"]: change["would_be"]["reason"] for change in report["changes"]}
    unknown = [(target, fact) for _, target, _, fact in CASES if fact is not None]
    expected = {
        target.partition("?")[0]: after[target]
        for _, target, _, fact in CASES
        if fact is None and after[target] != before[target]
    }
    assert told == expected
    assert {each["fact"]: each["count"] for each in report["missing"]} == {
        fact: [other for _, other in unknown].count(fact) for _, fact in unknown
    }
    assert report["cannot_tell"] == len(unknown)
    assert report["changed"] == len(told)
    assert report["requests"] >= len(CASES)
