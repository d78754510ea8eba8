"""Clients that send more than the gateway can work through: they wait for themselves, and others are served in between.

Nothing here is judged by how fast the machine is, but by what was done before what.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

import pytest
from support.client import TLS_1_2, TLS_1_3, Client
from support.gateway import HOST
from support.waiting import until

pytestmark = pytest.mark.e2e

PIPELINED = 200
BEFORE_OTHERS = 30  # of them at most, however the worker was stopped; without turns it is nearly all
MANY = 90  # connections of one client
ASKED = 20
ENDLESS_BYTES = 40 * 1024 * 1024  # far more than the kernel holds, and half a minute of work for the gateway
CHUNKS = b"1\r\nx\r\n" * 5000
VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
REQUESTS = {
    "short": "GET /x HTTP/1.1\r\nHost: {host}\r\n{client}\r\n",
    "in records of a byte": "GET /x HTTP/1.1\r\nHost: {host}\r\n{client}\r\n",
    "escaped": "GET /x" + "%61" * 600 + " HTTP/1.1\r\nHost: {host}\r\n{client}\r\n",
    "with many fields": "GET /x HTTP/1.1\r\nHost: {host}\r\n{client}"
    + "".join(f"X-{number}: a\r\n" for number in range(80))
    + "\r\n",
}


@pytest.fixture
def other_address(outsiders):
    return outsiders()


@pytest.fixture
def other(gateway, context, other_address):
    """Somebody else, with a connection that was there before."""
    with Client(gateway.port, source=other_address, context=context) as made:
        assert made.ask("GET", "/webmail").status == 200
        yield made


@pytest.fixture(params=[TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def flooding(gateway, credentials, outside, request):
    """A connection with a certificate, for the flood."""
    with Client(gateway.port, source=outside, identity=credentials["alice"], version=request.param) as made:
        yield made


@contextlib.contextmanager
def standing_still(gateway):
    """The worker does nothing, and finds all that was sent meanwhile at once."""
    (worker,) = gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


class Flood:
    """Sends for as long as it is let; how much is in `sent_bytes`."""

    def __init__(self, send, data):
        self.sent_bytes = 0
        self._send = send
        self._data = data

    def run(self):
        with contextlib.suppress(OSError):
            while self.sent_bytes < ENDLESS_BYTES:
                self._send(self._data)
                self.sent_bytes += len(self._data)


@contextlib.contextmanager
def beside(function, client):
    """`function` runs in a thread until the client's connection is gone."""
    thread = threading.Thread(target=function)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_RDWR)
        thread.join()


def send_in(client, data, kind):
    """In as few records as can be, or in as many."""
    if kind == "in records of a byte":
        for byte in data:
            client.send(bytes((byte,)))
    else:
        client.send(data)


@VERSIONS
@pytest.mark.parametrize("kind", REQUESTS)
def test_others_come_before_the_rest_of_a_flood(  # noqa: PLR0917
    gateway, proxy_address, outsiders, other, other_address, kind, version
):
    """From a trusted proxy, whose connection no number of refusals ends."""
    address = outsiders()
    request = REQUESTS[kind].format(host=HOST, client=f"X-Forwarded-For: {address}\r\n").encode()
    with Client(gateway.port, source=proxy_address, version=version) as flooding:
        sending = threading.Thread(target=send_in, args=(flooding, request * PIPELINED, kind))
        with standing_still(gateway):
            sending.start()
            sending.join(2)  # or until the kernel takes no more
            other.send(other.request("GET", "/x"))
        assert other.answer().status == 403
        for _ in range(PIPELINED):
            assert flooding.answer().status == 403
        sending.join()
    gateway.log.of_address(address, PIPELINED)
    clients = [record["client_ip"] for record in gateway.log.records() if (record["uri"] or "").startswith("/x")]
    before = clients[: clients.index(other_address)].count(address)
    assert before <= BEFORE_OTHERS


@VERSIONS
@pytest.mark.parametrize("last_bytes", [0, 1])
def test_others_come_before_long_requests_on_many_connections(
    gateway, outside, other, other_address, version, last_bytes
):
    """Each is alone on its connection, so that no rest of a read waits; its path is dear to read.

    `last_bytes`: so many come later, in a short read of their own.
    """
    with contextlib.ExitStack() as connections:
        flooding = [
            connections.enter_context(Client(gateway.port, source=outside, version=version)) for _ in range(MANY)
        ]
        request = flooding[0].request("GET", "/x" + "\xc3\xa9" * 3000)
        at = len(request) - last_bytes if last_bytes else 0
        for client in flooding:
            client.send(request[:at] or b"\r\n")
        assert other.ask("GET", "/webmail").status == 200
        with standing_still(gateway):
            for client in flooding:
                client.send(request[at:])
            other.send(other.request("GET", "/x"))
        assert other.answer().status == 403
        assert [client.answer().status for client in flooding] == [403] * MANY
    gateway.log.of_address(outside, MANY)
    clients = [record["client_ip"] for record in gateway.log.records()]
    place = len(clients) - clients[::-1].index(other_address) - 1
    assert clients[:place].count(outside) <= BEFORE_OTHERS


def test_others_come_between_chunks_of_a_byte(mail, other, flooding):
    mail.answer("/webmail/upload", lambda dialogue: dialogue.wait_closed())
    flooding.send(f"POST /webmail/upload HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    flood = Flood(flooding.send, CHUNKS)
    with beside(flood.run, flooding):
        until(lambda: flood.sent_bytes, "it has begun")
        for _ in range(ASKED):
            assert other.ask("GET", "/webmail").status == 200
        assert flood.sent_bytes < ENDLESS_BYTES / 2


def test_others_come_between_an_upstreams_chunks_of_a_byte(mail, other, flooding):
    floods = []

    def answer(dialogue):
        dialogue.read_body()
        dialogue.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        floods.append(Flood(dialogue.send, CHUNKS))
        floods[0].run()

    def read_on():
        with contextlib.suppress(OSError, ValueError):
            while flooding.socket.recv(65536):
                pass

    mail.answer("/webmail/endless", answer)
    flooding.send(flooding.request("GET", "/webmail/endless"))
    with beside(read_on, flooding):
        until(lambda: floods and floods[0].sent_bytes, "it has begun")
        for _ in range(ASKED):
            assert other.ask("GET", "/webmail").status == 200
        assert floods[0].sent_bytes < ENDLESS_BYTES / 2


@VERSIONS
def test_ten_refusals_in_a_row_are_the_end(gateway, outside, version):
    with Client(gateway.port, source=outside, version=version) as client:
        client.send(client.request("GET", "/x") * 100)
        answers = [client.answer() for _ in range(10)]
        assert [answer.get("Connection") for answer in answers] == [None] * 9 + ["close"]
        assert client.read_all() == b""
    assert len(gateway.log.of_address(outside, 10)) == 10


def test_warnings_that_repeat_are_folded(gateway, mail, other):
    """The mail server gives nonsense for an answer, again and again; each request has its line in the access log."""
    mail.answer("/webmail/nonsense", lambda dialogue: dialogue.send(b"nonsense\r\n\r\n"))
    before = len(gateway.errors.splitlines())
    for _ in range(50):
        assert other.ask("GET", "/webmail/nonsense").status == 502

    def told():
        return [line for line in gateway.errors.splitlines()[before:] if "status line" in line]

    until(lambda: any("more like this in" in line for line in told()), "the count is told")
    assert len(told()) < 25
    records = [record for record in gateway.log.records() if record["uri"] == "/webmail/nonsense"]
    assert len(records) == 50
