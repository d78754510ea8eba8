"""Clients that send slowly, read slowly, stop half-way or vanish: the mail server's connections are free at once, each
attempt is on record, and everybody else is served.
"""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from support.crowd import LEAVE, drop, gather, reset
from support.gateway import HOST
from support.waiting import until

pytestmark = pytest.mark.e2e

MANY = 1000
SOME = 50
MIB = 1024 * 1024
VANISHED = {None}  # the status of a request whose client had gone before its answer
FRAMINGS = {"length": f"Content-Length: {MIB}", "chunked": "Transfer-Encoding: chunked"}


@pytest.fixture
def held(mail):
    """Dialogues that the mail server holds open; `held.ended` counts those that the gateway has closed since."""
    return Held(mail, "/webmail/held")


class Held:
    def __init__(self, mail, path):
        self.path = path
        self.begun = []
        self.bodies = []
        mail.answer(path, self._answer)

    def _answer(self, dialogue):
        self.begun.append(dialogue)
        self.bodies.append(len(dialogue.wait_closed()))

    def have_begun(self, count):
        until(lambda: len(self.begun) == count, f"{count} requests reach the mail server", seconds=60)

    def have_ended(self, count):
        until(lambda: len(self.bodies) == count, f"{count} of its connections are closed")


@pytest.fixture
def crowd_of(connect):
    """So many clients, each of which has sent this as soon as it could."""

    def made(count, *requests, **options):
        numbers = iter(range(count))

        def begin():
            client = connect(**options)
            client.send(requests[next(numbers) % len(requests)])
            return client

        return gather(count, begin)

    return made


def request(method, path, *fields, body=b""):
    """A request's bytes; `fields` say how long the body is."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}", *fields, "", ""]).encode() + body


def records_of(gateway, address, count):
    """As many, each with an id of its own."""
    records = gateway.log.of_address(address, count)
    assert len({record["request_id"] for record in records}) == count
    return records


def test_a_thousand_clients_vanish(gateway, outside, crowd_of, held, bystander):
    """Each holds a long poll over a mutual TLS connection; one moment later none of them is there."""
    crowd = crowd_of(MANY, request("POST", held.path, "Content-Length: 4", body=b"ping"))
    held.have_begun(MANY)
    bystander.is_served()
    for number, client in enumerate(crowd):
        LEAVE[number % len(LEAVE)](client)
    held.have_ended(MANY)
    bystander.is_served()
    records = records_of(gateway, outside, MANY)
    assert {record["status"] for record in records} == VANISHED
    assert {(record["bytes_in"], record["decision"]) for record in records} == {(4, "require_certificate")}
    assert held.bodies == [4] * MANY


def test_a_thousand_idle_clients_vanish(gateway, outside, crowd_of, bystander):
    crowd = crowd_of(MANY, request("GET", "/webmail"))
    for client in crowd:
        assert client.answer().status == 200
    for number, client in enumerate(crowd):
        LEAVE[number % len(LEAVE)](client)
    bystander.is_served()
    assert {record["status"] for record in records_of(gateway, outside, MANY)} == {200}


def test_heads_that_trickle(gateway, outside, crowd_of, bystander):
    """Slowloris: every one of them is told at its own time."""
    head = request("GET", "/webmail", "X-A: b")
    crowd = crowd_of(4 * SOME, head[:1])
    pause = threading.Event()
    for byte in head[1:30]:
        for client in crowd:
            with contextlib.suppress(OSError):
                client.send(bytes((byte,)))
        pause.wait(0.3)
    bystander.is_served()
    for client in crowd:
        with client, contextlib.suppress(ConnectionResetError):  # it wrote on after it had been told
            assert client.answer().verdict == (408, "request_timeout")
    records = records_of(gateway, outside, 4 * SOME)
    assert {(record["status"], record["reason"]) for record in records} == {(408, "request_timeout")}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_bodies_that_trickle(gateway, outside, crowd_of, held, framing):
    crowd = crowd_of(SOME, request("POST", held.path, FRAMINGS[framing]))
    piece = b"x" if framing == "length" else b"1\r\nx\r\n"
    pause = threading.Event()
    for _ in range(30):
        for client in crowd:
            with contextlib.suppress(OSError):
                client.send(piece)
        pause.wait(0.3)
    for client in crowd:
        with client, contextlib.suppress(ConnectionResetError):
            assert client.answer().verdict == (408, "request_timeout")
    held.have_ended(SOME)
    records = records_of(gateway, outside, SOME)
    assert {(record["status"], record["reason"]) for record in records} == {(408, "request_timeout")}


def big_answers(mail, path):
    """The mail server sends without end; what came of it, one entry for each."""
    ended = []

    def answer(dialogue):
        dialogue.read_body()
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        with contextlib.suppress(OSError):
            while True:
                dialogue.send(bytes(MIB))
        ended.append(dialogue)

    mail.answer(path, answer)
    return ended


def test_downloads_that_are_not_read(gateway, mail, outside, crowd_of, bystander):
    """Slow read: the client's window is shut, and stays so."""
    ended = big_answers(mail, "/webmail/big")
    crowd_of(SOME, request("GET", "/webmail/big"), buffer_bytes=4096)
    bystander.is_served()
    until(lambda: len(ended) == SOME, "the mail server's connections are closed", seconds=30)
    records = records_of(gateway, outside, SOME)
    assert {(record["status"], record["reason"]) for record in records} == {(200, "request_timeout")}
    assert all(record["bytes_out"] > 0 for record in records)


def test_answers_that_are_asked_for_and_not_read(gateway, mail, outside, connect, bystander):
    """Requests one behind the other, without end: who reads no answer is given no more of them, and is cut."""
    mail.answer("/webmail/page", lambda dialogue: dialogue.answer(bytes(10_000)))
    crowd = gather(10, lambda: connect(buffer_bytes=4096))

    cut = []

    def ask(client):
        requests = request("GET", "/webmail/page") * 100
        client.socket.settimeout(60)  # less than a connection may be idle
        try:
            while True:
                client.send(requests)
        except TimeoutError:
            return
        except OSError:
            cut.append(client)

    threads = [threading.Thread(target=ask, args=(client,)) for client in crowd]
    for thread in threads:
        thread.start()
    bystander.is_served()
    for thread in threads:
        thread.join()
    assert len(cut) == len(crowd)
    bystander.is_served()
    served = [record for record in gateway.log.records() if record["client_ip"] == outside]
    assert len(served) < 10 * 1000  # as many answers as the kernel and our own buffers hold, and no more
    assert {record["status"] for record in served} <= {200, None}


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_uploads_that_are_broken_off(gateway, outside, crowd_of, held, framing, leave):
    """The mail server never takes what came of it for the whole."""
    half = bytes(5000) if framing == "length" else b"1388\r\n" + bytes(5000) + b"\r\n"
    crowd = crowd_of(SOME, request("POST", held.path, FRAMINGS[framing], body=half))
    held.have_begun(SOME)
    for client in crowd:
        leave(client)
    held.have_ended(SOME)
    assert max(held.bodies) == len(half)  # no last chunk
    assert {record["status"] for record in records_of(gateway, outside, SOME)} == VANISHED


@pytest.mark.parametrize("leave", LEAVE)
def test_downloads_that_are_broken_off(gateway, mail, outside, connect, leave, bystander):
    ended = big_answers(mail, "/webmail/big")

    def begin_and_leave():
        client = connect()
        client.send(request("GET", "/webmail/big"))
        client.read(100_000)
        leave(client)

    gather(SOME, begin_and_leave)
    bystander.is_served()
    until(lambda: len(ended) == SOME, "the mail server's connections are closed")
    records = records_of(gateway, outside, SOME)
    assert {(record["status"], record["reason"]) for record in records} == {(200, None)}


@pytest.mark.parametrize("when", ["before a request", "within one", "behind one"])
def test_half_closed_sockets(gateway, outside, crowd_of, held, when, bystander):
    """A FIN is all that is ever heard of a client that is gone: nobody waits for it."""
    whole = request("GET", held.path)
    crowd = crowd_of(SOME, {"before a request": b"\r\n", "within one": whole[:20], "behind one": whole}[when])
    if when == "behind one":
        held.have_begun(SOME)
    for client in crowd:
        client.socket.shutdown(socket.SHUT_WR)
    bystander.is_served()
    for client in crowd:
        client.read_all()  # session tickets and close_notify, as they came: Python decrypts no more after a shutdown
    if when == "behind one":
        held.have_ended(SOME)
        assert {record["status"] for record in records_of(gateway, outside, SOME)} == VANISHED
    else:
        assert not [record for record in gateway.log.records() if record["client_ip"] == outside]


def test_all_kinds_of_trouble_at_once(gateway, mail, outside, crowd_of, held):
    """What each of them alone doesn't do they don't do together."""
    ended = big_answers(mail, "/webmail/big")
    crowd = crowd_of(
        4 * SOME,
        request("GET", held.path),
        request("GET", "/webmail/big"),
        request("POST", held.path, "Content-Length: 1000", body=b"half"),
        request("GET", "/webmail")[:-2],
        buffer_bytes=16_384,
    )
    held.have_begun(2 * SOME)
    for number, client in enumerate(crowd):
        (reset, drop)[number % 2](client)
    held.have_ended(2 * SOME)
    until(lambda: len(ended) == SOME, "the mail server's connections are closed")

    def records():
        return [record for record in gateway.log.records() if record["client_ip"] == outside]

    found = until(lambda: len(records()) >= 3 * SOME and records(), "all that was begun is on record")
    assert len({record["request_id"] for record in found}) == len(found)
    # Where the machine is slow somebody has already been told that it is late.
    assert {record["status"] for record in found} <= {None, 200, 408}
