"""Upgraded connections whose client has said all: every byte arrives before the mail server hears of the end."""

from __future__ import annotations

import os
import ssl
import threading

import pytest
from support.gateway import settings_for
from support.mail import MailServer
from support.waiting import until

pytestmark = pytest.mark.e2e

STALLED_SECONDS = 0.5
# Somewhere in between the kernel takes no more for the mail server, and the rest waits in the gateway: at about 4 MiB
# where the kernel's buffers grow to 4 on one side and 6 on the other.
KIB = 1024
SIZES = range(1024 * KIB, 5120 * KIB, 128 * KIB)


@pytest.fixture(params=["http", "https"])
def server(request, credentials):
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials.folder / "mailhost.crt", credentials.folder / "mailhost.key")
    made = MailServer(context)
    yield made
    made.stop()


def say_all(client, exchange, data, has_paused):
    """Send it, end this direction, and listen until the mail server has ended the other."""
    exchange.send_patiently(data, has_paused, STALLED_SECONDS)
    has_paused.set()
    exchange.end()
    client.close()


def test_what_a_client_said_arrives_whole_at_a_mail_server_that_takes_its_time(start, credentials, server, wire):
    """It reads nothing before the client has ended; over http it ends its own direction first."""
    settings = settings_for(credentials.site, server.url)
    if server.url.startswith("https:"):
        tls = {"ca": str(credentials.folder / "serverCA.crt"), "server_name": "mail.internal"}
        settings["upstreams"]["mail"]["tls"] = tls
    gateway = start(settings)
    body = os.urandom(SIZES[-1])
    may_read = threading.Event()
    arrived = {}

    def takes_its_time(dialogue):
        size = int(dialogue.request.target.rpartition(b"/")[2])
        dialogue.switch()
        assert may_read.wait(60)
        if server.url.startswith("http:"):
            dialogue.finish_sending()
        arrived[size] = dialogue.wait_closed()
        dialogue.close()

    server.answer("/webmail", takes_its_time)
    threads = []
    for size in SIZES:
        client, has_paused = wire.client(gateway.port), threading.Event()
        exchange = client.open(f"/webmail/{size}")
        threads.append(threading.Thread(target=say_all, args=(client, exchange, body[:size], has_paused)))
        threads[-1].start()
        assert has_paused.wait(30)
    may_read.set()
    for thread in threads:
        thread.join()
    until(lambda: len(arrived) == len(SIZES), "the mail server has read all")
    assert {size: len(data) for size, data in arrived.items()} == {size: size for size in SIZES}
    assert all(data == body[:size] for size, data in arrived.items())
    until(
        lambda: {record["bytes_in"] for record in gateway.log.records() if record["status"] == 101} == set(SIZES),
        "all are logged",
    )
