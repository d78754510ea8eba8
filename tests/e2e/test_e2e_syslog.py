"""The access log in a real rsyslog: over UDP, TCP, TLS and a unix socket, and while it is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from ipaddress import ip_address

import pytest
from cryptography.x509 import IPAddress, SubjectAlternativeName
from support.client import Client
from support.gateway import Gateway, settings_for
from support.log_lines import line_of
from support.pki import DAY, SERVER_AUTH, Ca
from support.rsyslog import Rsyslog
from support.waiting import PATIENCE_SECONDS, until

from gateway import clock
from gateway.config.model import AccessLog, SyslogServer
from gateway.logs.record import KEYS
from gateway.supervisor.access_log import open_access_log

pytestmark = pytest.mark.e2e

NOW = clock.now()
ALWAYS = {"not_before": NOW - DAY, "not_after": NOW + DAY}
HOSTILE = "/%0a<0>1 - - - - - - x\x00\r\n12 <134>1 \u00e4\u2028\U0001f4e7"


@pytest.fixture(scope="module")
def ca():
    return Ca.make("CN=Log Root", **ALWAYS)


@pytest.fixture(scope="module")
def rsyslog(ca, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rsyslog")
    name = SubjectAlternativeName([IPAddress(ip_address("127.0.0.1"))])
    leaf = ca.issue("CN=logs", eku=SERVER_AUTH, extensions=[(name, False)], **ALWAYS)
    ca.write(folder, "ca")
    server = Rsyslog(folder, *leaf.write(folder, "server"))
    server.authority = folder / "ca.crt"
    yield server
    server.stop()


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls", "unix"])
def test_it_reads_every_line_as_it_was_written(rsyslog, kind, monkeypatch):
    monkeypatch.setattr("gateway.logs.sending.CLOSE_SECONDS", PATIENCE_SECONDS)
    before = len(rsyslog.seen())
    host = str(rsyslog.unix) if kind == "unix" else "127.0.0.1"
    port = 0 if kind == "unix" else getattr(rsyslog, kind)
    # The kernel drops datagrams beyond about 90 if rsyslog is not given the processor meanwhile.
    lines = [line_of(uri=f"/{number}") for number in range(30 if kind == "udp" else 1000)]
    lines += [line_of(uri=HOSTILE, user_agent="x" * 1000), line_of(uri="/" + "\u00e4" * 8000), line_of(reason="x")]

    async def send():
        server = SyslogServer(kind, host, port, rsyslog.authority if kind == "tls" else None)
        log = open_access_log(AccessLog(syslog=server))
        log.start(asyncio.get_running_loop())
        for line in lines:
            log.write(line)
        await log.finish()
        log.close()
        assert log.dropped_lines == 0

    asyncio.run(send())
    seen = until(lambda: found if len(found := rsyslog.seen()[before:]) == len(lines) else None, "all lines arrive")
    assert [each.text + b"\n" for each in seen] == lines
    assert [each.data for each in seen] == [f'[meta sequenceId="{number}"]' for number in range(1, len(lines) + 1)]
    assert {each.priority for each in seen[:-1]} == {16 * 8 + 6}
    last = seen[-1]
    assert (last.priority, last.host, last.app) == (16 * 8 + 5, socket.gethostname(), "gateway")
    assert (last.process, last.msgid) == (str(os.getpid()), "access")


def ids(rsyslog) -> list[str]:
    return [json.loads(each.text)["request_id"] for each in rsyslog.seen()]


def test_the_gateway_serves_while_it_is_away_and_sends_the_lines_later(rsyslog, tmp_path, credentials, mail):
    place = f"syslog:tls://127.0.0.1:{rsyslog.tls}"
    log = {"path": place, "ca": str(rsyslog.authority)}
    gateway = Gateway.start(tmp_path, settings_for(credentials.site, mail.url, access_log=log))
    gateway.expected_errors.append("access log syslog:tls://")

    def ask() -> str:
        with Client(gateway.port) as client:
            answer = client.ask("GET", "/webmail")
        assert answer.status == 200
        return answer.get("X-Request-Id")

    first = ask()
    until(lambda: first in ids(rsyslog), "the line arrives")
    seen = next(each for each in rsyslog.seen() if first in each.text.decode())
    assert tuple(json.loads(seen.text)) == KEYS
    assert seen.process == str(gateway.workers()[0])

    rsyslog.stop()
    missed = [ask() for _ in range(5)]
    until(lambda: f"access log {place}: " in gateway.errors, "the failure is reported")
    rsyslog.start()
    gateway.signal(signal.SIGUSR1)  # connects again at once
    until(lambda: set(missed) <= set(ids(rsyslog)), "the lines arrive later")
    last = ask()
    assert gateway.stop() == 0
    until(lambda: last in ids(rsyslog), "the last line is sent before the end")
    found = ids(rsyslog)
    assert [found.count(each) for each in (first, *missed, last)] == [1] * 7
    assert "0 lines lost since the last report" in gateway.errors
    gateway.check_errors()
