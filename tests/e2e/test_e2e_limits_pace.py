"""Whoever sends or reads too slowly, or comes too often, is let go with the limit's own reason; nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from support.client import Client, ask
from support.gateway import INSIDE, settings_for
from support.mail import default_answer
from support.waiting import PATIENCE_SECONDS, until
from support.wire import CUT_SHORT

pytestmark = pytest.mark.e2e

LIMITS = {
    "connections": 20,
    "connections_per_ip": 10,
    "handshakes_per_second_per_ip": 2,
    "requests_per_second_per_ip": 20,
    "transfer_idle": "2s",
    "body_bytes_per_second": 1000,
}
MIB = 1024 * 1024
REQUESTS = 61  # three seconds' worth of them, and the one that fills it
BURST = 7  # three seconds' worth, and the one that fills it
REFUSED = 256  # so many beyond the limit are told so; the rest find the door closed
framings = pytest.mark.parametrize("framing", [{"length": MIB}, {"is_streamed": True}], ids=["length", "streamed"])


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    return start(settings_for(credentials.site, mail.url, limits=LIMITS))


@pytest.fixture(autouse=True)
def nobody_else_notices(gateway, mail, credentials, outsiders, wire):
    """Somebody whose connection was there before, from an address of its own, is answered during and after."""
    mail.answer("/webmail/other", default_answer)
    with wire.client(gateway.port, source=outsiders(), identity=credentials["alice"]) as other:
        assert other.ask("GET", "/webmail/other").status == 200
        yield lambda: other.ask("GET", "/webmail/other").status
        mail.answer("/webmail/other", default_answer)
        assert other.ask("GET", "/webmail/other").body == b"mail\n"


@pytest.fixture
def client(gateway, credentials, outside, wire):
    """Somebody else, with a certificate."""
    with wire.client(gateway.port, source=outside, identity=credentials["alice"], buffer_bytes=4096) as made:
        yield made


def trickle(exchange, seconds: float) -> None:
    """Send a byte now and then, until the other side has had enough."""
    stop = threading.Event()
    with contextlib.suppress(OSError, EOFError):
        while not stop.wait(seconds) and not exchange.is_refused():
            exchange.send(b"x")


def drip(exchange, seconds):
    thread = threading.Thread(target=trickle, args=(exchange, seconds))
    thread.start()
    return thread


@framings
def test_a_body_of_which_nothing_comes(gateway, mail, client, framing):
    bodies = []
    mail.answer("/webmail", lambda dialogue: bodies.append(dialogue.wait_closed()))
    exchange = client.start("POST", "/webmail", **framing)
    answer = exchange.answer()
    assert answer.verdict == (408, "request_timeout")
    assert exchange.is_over()
    assert gateway.log.of(answer.get("X-Request-Id"))["reason"] == "request_timeout"
    assert until(lambda: bodies, "the mail server's connection is closed") == [b""]


@framings
def test_a_body_that_trickles(gateway, mail, client, framing):
    """Slowloris: never silent for long, and never done."""
    bodies = []
    mail.answer("/webmail", lambda dialogue: bodies.append(dialogue.wait_closed()))
    exchange = client.start("POST", "/webmail", **framing)
    thread = drip(exchange, 0.1)
    answer = exchange.answer()
    assert answer.verdict == (408, "request_timeout")
    thread.join()
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["status"], record["reason"]) == (408, "request_timeout")
    assert 0 < record["bytes_in"] < 1000
    until(lambda: bodies, "the mail server's connection is closed")


def test_a_body_that_keeps_pace_may_take_its_time(mail, client):
    """It takes three times as long as a client may be silent."""

    def answer(dialogue):
        assert len(dialogue.read_body()) == 30_000
        dialogue.answer(b"done")

    mail.answer("/webmail", answer)
    begun = time.monotonic()
    exchange = client.start("POST", "/webmail", length=30_000)
    pause = threading.Event()
    for _ in range(20):
        exchange.send(bytes(1500))
        pause.wait(0.3)
    assert exchange.answer().body == b"done"
    assert time.monotonic() - begun >= 6


@pytest.mark.parametrize("taken", [0, 64], ids=["nothing", "a few bytes now and then"])
def test_a_download_that_is_not_read(gateway, mail, client, taken):
    """Slow read: the answer is cut, and the mail server's connection is free again."""
    ended = []

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        with contextlib.suppress(OSError):
            dialogue.send(bytes(64 * MIB))
        ended.append(dialogue.request.request_id)

    mail.answer("/webmail", answer)
    exchange = client.start("GET", "/webmail")
    pause = threading.Event()
    while taken and not ended and not pause.wait(0.05):
        exchange.read_available(taken)
    (request_id,) = until(lambda: ended, "the mail server can't send any more")
    record = gateway.log.of(request_id)
    with pytest.raises(CUT_SHORT):
        exchange.answer()
    assert (record["status"], record["reason"]) == (200, "request_timeout")
    assert 0 < record["bytes_out"] < 64 * MIB


def test_an_answer_that_is_read_without_a_break_may_take_its_time(mail, client):
    size = 64 * MIB
    mail.answer("/webmail", lambda dialogue: dialogue.answer(bytes(size)))
    exchange = client.start("GET", "/webmail")
    begun, pause, received = time.monotonic(), threading.Event(), 0
    while received < size:
        if time.monotonic() - begun < 6:
            pause.wait(0.01)
        received += len(exchange.read(min(65536, size - received)))
    assert time.monotonic() - begun >= 6


def test_an_answer_that_is_read_slowly_without_a_break_is_not_cut(gateway, mail, client, outside):
    """The gateway's kernel holds megabytes of it, so its socket takes nothing more for longer than the limit."""
    mail.answer("/webmail", lambda dialogue: dialogue.answer(bytes(64 * MIB)))
    exchange = client.start("GET", "/webmail")
    begun, pause = time.monotonic(), threading.Event()
    while time.monotonic() - begun < 7:
        pause.wait(0.05)
        exchange.read(6000)
    assert [record for record in gateway.log.records() if record["client_ip"] == outside] == []


def test_requests_that_come_too_fast_wait_and_the_others_do_not(gateway, client, outside, nobody_else_notices):
    mine = REQUESTS + 10
    begun = time.monotonic()
    for _ in range(mine):
        assert client.ask("GET", "/webmail").status == 200
    assert time.monotonic() - begun >= (mine - REQUESTS) / LIMITS["requests_per_second_per_ip"]
    assert nobody_else_notices() == 200
    assert {record["status"] for record in gateway.log.of_address(outside, mine)} == {200}


def test_handshakes_that_come_too_fast_are_broken_off_and_the_others_are_not(gateway, outside, nobody_else_notices):
    """There is no page without a handshake: the line in the log says why."""

    def begins():
        with Client(gateway.port, source=outside):
            return True

    done, begun = 0, time.monotonic()
    while _is_let_in(begins):
        done += 1
        assert done < 100
    passed = time.monotonic() - begun
    assert BURST <= done <= BURST + passed * LIMITS["handshakes_per_second_per_ip"]
    assert nobody_else_notices() == 200
    records = gateway.log.of_address(outside)
    assert [(record["method"], record["reason"]) for record in records] == [
        (None, "too many handshakes from this address")
    ]
    assert ask(gateway.port, "/webmail").status == 200
    until(lambda: _is_let_in(begins), "the pause is over")


def _is_let_in(begins) -> bool:
    try:
        return begins()
    except (OSError, EOFError):
        return False


def test_connections_in_all(gateway, outsiders, nobody_else_notices):
    """The limit is served, one more gets a page, and who is far beyond it finds the door closed."""
    kept, plain = [], []
    for _ in range(4):
        address = outsiders()
        kept += [Client(gateway.port, source=address) for _ in range(5 if len(kept) < 15 else 4)]
    try:
        assert len(kept) == LIMITS["connections"] - 1  # and the one that was there before
        assert kept[-1].ask("GET", "/webmail").reason == "certificate_missing"
        with Client(gateway.port, source=outsiders()) as client:
            answer = client.ask("GET", "/webmail")
            assert answer.verdict == (429, "too_many_connections")
            assert client.is_at_end()
        record = gateway.log.of(answer.get("X-Request-Id"))
        assert (record["status"], record["reason"]) == (429, "too_many_connections")
        assert nobody_else_notices() == 200

        address = outsiders()
        plain += [_plain(gateway, f"127.1.{number}.2") for number in range(REFUSED)]
        closed = _plain(gateway, address)
        plain.append(closed)
        assert closed.recv(1) == b""
        (record,) = gateway.log.of_address(address)
        assert (record["method"], record["reason"]) == (None, "too many connections")
        assert nobody_else_notices() == 200
    finally:
        for each in (*kept, *plain):
            each.close()
    until(lambda: ask(gateway.port, "/webmail").status == 200, "there is room again")


def _plain(gateway, address):
    return socket.create_connection((INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(address, 0))
