"""Each place of the access log is opened as the configuration says; TLS lets no stranger read the log."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import Self

import pytest
from cryptography.x509 import IPAddress, SubjectAlternativeName
from support.pki import DAY, SERVER_AUTH, Ca
from support.syslog import counted, parse
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.config.model import AccessLog, SyslogServer
from gateway.errors import ConfigError
from gateway.logs.sending import SendingLog
from gateway.logs.writer import AccessLogWriter
from gateway.supervisor.access_log import open_access_log
from gateway.supervisor.worker.loop import WorkerLoop

NOW = clock.now()
ALWAYS = {"not_before": NOW - DAY, "not_after": NOW + DAY}
LINE = b'{"time":"2026-11-30T12:00:00.000Z","reason":null}\n'


def test_a_file_and_standard_output_are_written(tmp_path):
    log = open_access_log(AccessLog(tmp_path / "access.jsonl"))
    assert isinstance(log, AccessLogWriter)
    log.write(LINE)
    asyncio.run(log.finish())
    assert (tmp_path / "access.jsonl").read_bytes() == LINE
    log.close()
    assert isinstance(open_access_log(AccessLog()), AccessLogWriter)


@pytest.mark.parametrize(
    "settings",
    [
        AccessLog(is_journald=True),
        AccessLog(syslog=SyslogServer("udp", "127.0.0.1", 514)),
        AccessLog(syslog=SyslogServer("tls", "127.0.0.1", 6514)),
    ],
)
def test_everything_else_is_sent(settings):
    assert isinstance(open_access_log(settings), SendingLog)


def test_a_ca_that_cannot_be_used_is_an_error_of_the_configuration(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"nothing\.pem"):
        open_access_log(AccessLog(syslog=SyslogServer("tls", "127.0.0.1", 6514, tmp_path / "nothing.pem")))

    def refuse(_):
        raise ssl.SSLError(1, "no")

    monkeypatch.setattr("gateway.supervisor.access_log.client_context", refuse)
    with pytest.raises(ConfigError, match=r"access_log\.ca: the system CAs: cannot be used") as raised:
        open_access_log(AccessLog(syslog=SyslogServer("tls", "127.0.0.1", 6514)))
    assert raised.value.remedy


@pytest.fixture(params=[WorkerLoop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def loop(request):
    made = request.param()
    yield made
    made.close()


class TlsServer(threading.Thread):
    """Takes one connection after the other until its end, and keeps what comes."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.got = bytearray()
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_SECONDS)
            with connection, suppress(OSError), self._context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65_536):
                    self.got += data

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self.join(PATIENCE_SECONDS)
        self._listening.close()


async def refused(caplog):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "the server's certificate is not trusted" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_known", [True, False])
def test_tls_speaks_only_to_a_server_that_the_ca_vouches_for(loop, tmp_path, caplog, monkeypatch, is_known):
    monkeypatch.setattr("gateway.logs.sending.CLOSE_SECONDS", PATIENCE_SECONDS if is_known else 0.01)
    ours, stranger = (Ca.make("CN=Root", **ALWAYS) for _ in range(2))
    name = SubjectAlternativeName([IPAddress(ip_address("127.0.0.1"))])
    leaf = (ours if is_known else stranger).issue("CN=x", eku=SERVER_AUTH, extensions=[(name, False)], **ALWAYS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf.write(tmp_path, "server"))
    ca, _ = ours.write(tmp_path, "ours")

    async def dialogue(port):
        log = open_access_log(AccessLog(syslog=SyslogServer("tls", "127.0.0.1", port, ca)))
        log.start(asyncio.get_running_loop())
        for _ in range(500):
            log.write(LINE)
        if not is_known:
            await refused(caplog)
        await log.finish()
        log.close()
        return log.dropped_lines

    with TlsServer(context) as server:
        lost = loop.run_until_complete(dialogue(server.port))
    messages, rest = counted(bytes(server.got))
    assert rest == b""
    if is_known:
        assert [parse(message).text for message in messages] == [LINE[:-1]] * 500
        assert lost == 0
    else:
        assert (messages, lost) == ([], 500)
