"""Mail servers over https that end their answers with the connection: whole ones arrive whole, however slowly they are
read, and what was cut off is never taken for whole.
"""

from __future__ import annotations

import os
import ssl
import threading

import pytest
from support.gateway import settings_for
from support.mail import MailServer
from support.waiting import PATIENCE_SECONDS
from support.wire import CUT_SHORT, HTTP1, HTTP2
from support.wire_http1 import Http1Exchange

pytestmark = pytest.mark.e2e

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


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
@pytest.mark.parametrize("end", ["finish", "close", "reset"])
def test_only_a_mail_server_that_says_so_has_said_all(gateway, mail, end, version):
    """An attacker between the two may send a FIN, but no close_notify (RFC 9112 9.8)."""
    is_half_read = threading.Event()

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")
        assert is_half_read.wait(PATIENCE_SECONDS)
        getattr(dialogue, end)()

    mail.answer("/webmail", answer)
    with (HTTP2 if version == "2" else HTTP1).client(gateway.port) as client:
        if version == "1.0":
            client.send(b"GET /webmail HTTP/1.0\r\n" + HEAD_1_0)
            exchange = Http1Exchange(client, "GET")
        else:
            exchange = client.start("GET", "/webmail")
        assert exchange.head().get("Transfer-Encoding") == ("chunked" if version == "1.1" else None)
        assert exchange.read(10) == b"half of it"
        is_half_read.set()
        if end == "finish":
            assert exchange.answer().body == b""
        else:
            with pytest.raises(CUT_SHORT):
                exchange.answer()
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["reason"]) == (200, None if end == "finish" else "upstream_bad_response")
    assert record["bytes_out"] == len("half of it")


@pytest.mark.parametrize("framing", ["length", "close"])
def test_an_answer_before_the_connections_end_arrives_whole_at_a_client_that_takes_its_time(
    gateway, mail, framing, wire
):
    """It reads nothing until the mail server has sent all and closed, wherever the gateway has stopped by then."""
    if wire.is_http2:
        pytest.skip("the client's window stops the mail server before it has sent all")
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
    clients = {size: wire.client(gateway.port, buffer_bytes=4096) for size in SIZES}
    try:
        exchanges = {size: client.start("GET", f"/webmail/{size}") for size, client in clients.items()}
        for size, exchange in exchanges.items():
            assert are_sent[size].wait(PATIENCE_SECONDS)
            assert exchange.answer().body == body[:size], size
    finally:
        for client in clients.values():
            client.close()
    for request in mail.received:
        record = gateway.log.of(request.request_id)
        assert (record["status"], record["reason"]) == (200, None)
