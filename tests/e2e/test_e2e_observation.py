"""A rule in observation, by curl and `openssl s_client` over TLS 1.2, 1.3 and HTTP/2, and what its day ends.

The gateway of the day has a clock that the test sets: `ahead` holds by how many seconds it is ahead of the real one.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from support.client import VERSIONS, s_client
from support.gateway import OUTSIDE, settings_for
from support.waiting import until
from support.wire import CUT_SHORT, WIRES_BY_VERSION

pytestmark = pytest.mark.e2e

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
VERSION_FLAGS = {version: "-tls1_2" if version is VERSIONS[0] else "-tls1_3" for version in VERSIONS}
HEADERS = (b"Client-Cert", b"X-Client-Subject", b"X-Client-Email", b"X-Client-Serial", b"X-Client-Fingerprint")
HOUR_SECONDS = 3600
HELLO = b"ping"
CLOCK = """\
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway import clock

AHEAD = Path(__file__).with_name("ahead")
clock.unix_seconds = lambda: time.time() + float(AHEAD.read_text())
clock.now = lambda: datetime.now(UTC) + timedelta(seconds=float(AHEAD.read_text()))
"""


def rule(enforce):
    certificate = {"email": ["*@example.com"], "bind_user": "email"}
    return {"name": "New", "action": "require_certificate", "certificate": certificate, "enforce": enforce}


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    return start(settings_for(credentials.site, mail.url, rules=[rule(enforce=False)]))


@by_version
@pytest.mark.parametrize(
    "case",
    [
        (None, None, "certificate_missing"),
        ("expired", None, "certificate_expired"),
        ("stranger", None, "certificate_untrusted"),
        ("unreadable", None, "certificate_untrusted"),
        ("p256", None, "certificate_not_allowed"),
        ("v3", "alice", "user_mismatch"),
        ("v3", "bob", None),
    ],
)
def test_curl_gets_in_and_the_mail_server_sees_the_holder_of_a_good_certificate_alone(
    gateway, mail, credentials, case, wire
):
    name, user, reason = case
    arguments = [] if user is None else ["--user", f"{user}:secret"]
    if name is not None:
        arguments += ["--cert", str(credentials[name].certificate), "--key", str(credentials[name].key)]
    answer = wire.curl(gateway.port, "/webmail", *arguments, ca=credentials.server_ca, source=OUTSIDE)
    assert answer.verdict == (200, None)
    received = mail.only()
    record = gateway.log.of(received.request_id)
    assert (record["status"], record["reason"], record["observed"]) == (200, None, reason)
    assert (record["cert_fingerprint"] is None) == (name is None)
    if reason is None:
        assert received.values(b"X-Client-Verified") == [b"SUCCESS"]
        assert received.values(b"X-Client-Email") == [b"bob@example.com"]
    else:
        assert received.values(b"X-Client-Verified") == [b"NONE"]
        assert not any(received.values(header) for header in HEADERS)


@both_versions
def test_s_client_is_asked_for_a_certificate_all_the_same(gateway, version):
    output = s_client(gateway.port, "/webmail", VERSION_FLAGS[version], source=OUTSIDE)
    assert "Acceptable client certificate CA names" in output
    assert "HTTP/1.1 200 OK" in output


class Day:
    """A gateway whose rule refuses from the day after tomorrow on; its clock is set to an hour before that."""

    def __init__(self, folder):
        (folder / "sitecustomize.py").write_text(CLOCK)
        self._ahead = folder / "ahead"
        self.date = (datetime.now(UTC) + timedelta(days=2)).date()
        self.set(-HOUR_SECONDS)

    def set(self, seconds):
        """So many seconds after the day's beginning."""
        midnight = datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)
        ahead = (midnight - datetime.now(UTC)).total_seconds() + seconds
        written = self._ahead.with_name("written")
        written.write_text(f"{ahead:.3f}")
        written.replace(self._ahead)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return Day(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def dated(start, credentials, mail, day):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(day._ahead.parent))
        return start(settings_for(credentials.site, mail.url, rules=[rule(day.date.isoformat())]))


def echo(dialogue):
    dialogue.switch()
    while data := dialogue.read(len(HELLO)):
        dialogue.send(data)


def stream(dialogue):
    dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
    dialogue.wait_closed()


def client_of(stack, gateway, identity, wire):
    return stack.enter_context(wire.client(gateway.port, source=OUTSIDE, identity=identity))


def socket_of(stack, gateway, identity, wire):
    """A WebSocket that talks."""
    return client_of(stack, gateway, identity, wire).open("/socket")


def others_of(stack, gateway, wire):
    """A download that has begun, a Ping without an answer yet, and a connection at rest; without a certificate."""
    downloading, pinging, idle = (client_of(stack, gateway, None, wire) for _ in range(3))
    download = downloading.start("GET", "/download")
    assert download.read(9) == b"beginning"
    ping = pinging.start("GET", "/wait")
    assert idle.ask("GET", "/webmail").verdict == (200, None)
    return download, ping, idle


def test_when_the_day_comes_all_that_is_open_is_judged_again_and_no_clock_opens_it(dated, mail, credentials, day):
    mail.answer("/socket", echo)
    mail.answer("/download", stream)
    mail.answer("/wait", lambda dialogue: dialogue.wait_closed())
    refused = (403, "certificate_missing")
    with ExitStack() as stack:
        holders = [socket_of(stack, dated, credentials["v3"], wire) for wire in WIRES_BY_VERSION]
        sockets = [socket_of(stack, dated, None, wire) for wire in WIRES_BY_VERSION]
        others = [others_of(stack, dated, wire) for wire in WIRES_BY_VERSION]
        until(
            lambda: len([each for each in mail.received if each.target == b"/wait"]) == len(WIRES_BY_VERSION),
            "all wait",
        )
        day.set(0)
        for socket in sockets:
            with pytest.raises(CUT_SHORT):
                socket.read(1)
        for download, ping, idle in others:
            with pytest.raises(CUT_SHORT):
                download.read(1)
            assert ping.answer().verdict == refused
            assert idle.ask("GET", "/webmail").verdict == refused
        for socket in holders:
            socket.send(HELLO)
            assert socket.read(len(HELLO)) == HELLO
    day.set(-HOUR_SECONDS)
    for wire in WIRES_BY_VERSION:
        assert wire.curl(dated.port, "/webmail", ca=credentials.server_ca, source=OUTSIDE).verdict == refused
    told = "the rule 'New' is no longer in observation: its date has come"  # by the master, for the workers are quicker
    until(lambda: told in dated.errors, "the log says it")
    expected = {
        ("/socket", "certificate_missing"),
        ("/download", "certificate_missing"),
        ("/wait", "certificate_missing"),
        ("/webmail", None),
    }

    def ended():
        refused = [record for record in dated.log.records() if record["reason"] == "certificate_missing"]
        return {(record["uri"], record["observed"]) for record in refused}

    until(lambda: ended() >= expected, "a line for each")
    assert ended() == expected
