"""Mail servers over https that end their answers with the connection: whole ones arrive whole, however slowly they are
read, and what was cut off is never taken for whole.
"""

from __future__ import annotations

import os
import ssl
import threading

import pytest
from support.client import Client
from support.gateway import settings_for
from support.mail import MailServer
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e

# How an answer that was cut short ends: without close_notify, and without the end that its framing announced.
TRUNCATED = (EOFError, ConnectionResetError, ssl.SSLEOFError)
# Somewhere in between the kernel takes no more for the client, and the gateway stops reading: at about 3 MiB where the
# kernel's buffers grow to 4. What uvloop would lose then is the last 256 KiB.
KIB = 1024
SIZES = range(1024 * KIB, 5120 * KIB, 192 * KIB)
HEAD_1_0 = b"Host: mail.example.com\r\n\r\n"


@pytest.fixture(scope="module")
def mail(credentials):
    """Over https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.folder / "mailhost.crt", credentials.folder / "mailhost.key")
    server = MailServer(context)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    settings = settings_for(credentials.site, mail.url)
    tls = {"ca": str(credentials.folder / "serverCA.crt"), "server_name": "mail.internal"}
    settings["upstreams"]["mail"]["tls"] = tls
    return start(settings)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("end", ["finish", "close", "reset"])
def test_only_a_mail_server_that_says_so_has_said_all(gateway, mail, end, version):
    """An attacker between the two may send a FIN, but no close_notify (RFC 9112 9.8)."""
    is_half_read = threading.Event()

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")
        assert is_half_read.wait(PATIENCE_SECONDS)
        getattr(dialogue, end)()

    mail.answer("/webmail", answer)
    with Client(gateway.port) as client:
        client.send(b"GET /webmail HTTP/%b\r\n" % version.encode() + HEAD_1_0)
        head = client.read_until(b"half of it")
        assert (b"chunked" in head) is (version == "1.1")
        is_half_read.set()
        if end == "finish":
            assert client.read(5) == b"\r\n0\r\n" if version == "1.1" else client.is_at_end()
        else:
            with pytest.raises(TRUNCATED):
                client.read(100)
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["reason"]) == (200, None if end == "finish" else "upstream_bad_response")
    assert record["bytes_out"] == len("half of it")


@pytest.mark.parametrize("framing", ["length", "close"])
def test_an_answer_before_the_connections_end_arrives_whole_at_a_client_that_takes_its_time(gateway, mail, framing):
    """It reads nothing until the mail server has sent all and closed, wherever the gateway has stopped by then."""
    body = os.urandom(SIZES[-1])
    are_sent = {size: threading.Event() for size in SIZES}

    def answer(dialogue):
        size = int(dialogue.request.target.rpartition(b"/")[2])
        framed = {
            "length": b"Content-Length: %d\r\n\r\n" % size + body[:size],
            "close": b"\r\n" + body[:size],
        }[framing]
        dialogue.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + framed)
        dialogue.finish()
        are_sent[size].set()

    mail.answer("/webmail", answer)
    clients = {size: Client(gateway.port, buffer_bytes=4096) for size in SIZES}
    try:
        for size, client in clients.items():
            client.send(client.request("GET", f"/webmail/{size}"))
        for size, client in clients.items():
            assert are_sent[size].wait(PATIENCE_SECONDS)
            assert client.answer().body == body[:size], size
    finally:
        for client in clients.values():
            client.close()
    for request in mail.received:
        record = gateway.log.of(request.request_id)
        assert (record["status"], record["reason"]) == (200, None)
