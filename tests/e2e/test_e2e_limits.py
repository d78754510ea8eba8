"""One above each limit is refused with the limit's own status and reason, and the limit itself is served."""

from __future__ import annotations

import socket

import pytest
from support.client import Client, ask, context_for
from support.gateway import HOST, INSIDE, settings_for
from support.http2_wire import Wire, h2_context
from support.mail import default_answer
from support.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.e2e

LIMITS = {
    "header_bytes": 2048,
    "headers": 10,
    "uri_bytes": 256,
    "body": 1000,
    "connections_per_ip": 3,
    "handshake": "300ms",
    "header_time": "300ms",
    "keepalive": "1s",
}


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    return start(settings_for(credentials.site, mail.url, limits=LIMITS))


def head_of(size: int) -> bytes:
    """A head whose fields, with their line ends, are as long as this."""
    fields = f"Host: {HOST}\r\nX-A: \r\n"
    return f"GET /webmail HTTP/1.1\r\nHost: {HOST}\r\nX-A: {'a' * (size - len(fields))}\r\n\r\n".encode()


def test_at_the_limits_everything_passes(gateway, mail, wire):
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail/" + "a" * (256 - 9)).status == 200
        assert client.ask("GET", "/webmail", *(f"X-{number}: a" for number in range(9))).status == 200
        assert client.ask("POST", "/webmail", body=bytes(1000)).status == 200
        exchange = client.start("POST", "/webmail", is_streamed=True)
        exchange.send(bytes(1000))
        exchange.finish()
        assert exchange.answer().status == 200
        if not wire.is_http2:
            client.send(head_of(2048 - 22 - 4))
            assert client.answer().status == 200
    assert len(mail.received) == (4 if wire.is_http2 else 5)


@pytest.mark.parametrize("arrives", ["at once", "unfinished"])
def test_a_head_that_is_too_long(gateway, mail, arrives):
    with Client(gateway.port) as client:
        client.send(head_of(2100) if arrives == "at once" else head_of(2100)[:-4])
        assert client.answer().verdict == (431, "headers_too_large")
        assert client.is_at_end()
    assert not mail.received


def test_too_many_fields(gateway, mail, wire):
    with wire.client(gateway.port) as client:
        answer = client.ask("GET", "/webmail", *(f"X-{number}: a" for number in range(10)))
        assert answer.verdict == (431, "headers_too_large")
    assert not mail.received


@pytest.mark.parametrize("length", [257, 500, 5000])
def test_a_uri_that_is_too_long(gateway, mail, length, wire):
    with wire.client(gateway.port) as client:
        answer = client.ask("GET", "/webmail/" + "a" * (length - 9))
    # Over HTTP/2 the target is a field too: one that is longer than all fields may be is not told from the others.
    is_list_too_long = wire.is_http2 and length > sum(LIMITS[name] for name in ("uri_bytes", "header_bytes", "body"))
    assert answer.verdict == ((431, "headers_too_large") if is_list_too_long else (414, "uri_too_long"))
    assert not mail.received


def test_a_body_that_says_it_is_too_long_reaches_nobody(gateway, mail, wire):
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", length=1001)
        assert exchange.answer().verdict == (413, "body_too_large")
        assert exchange.is_over()
    assert not mail.received


def test_a_body_that_turns_out_too_long_is_ended(gateway, mail, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.wait_closed())
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", is_streamed=True)
        exchange.send(bytes(1000))
        exchange.send(b"x")
        answer = exchange.answer()
        assert answer.verdict == (413, "body_too_large")
        assert exchange.is_over()
    assert gateway.log.of(answer.get("X-Request-Id"))["status"] == 413


REQUEST = f"POST /webmail HTTP/1.1\r\nHost: {HOST}\r\n"
ABOVE = {
    "header_bytes": (431, "headers_too_large", head_of(2100)),
    "headers": (431, "headers_too_large", REQUEST.encode() + b"X: a\r\n" * 10 + b"\r\n"),
    "uri_bytes": (414, "uri_too_long", f"GET /{'a' * 256} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()),
    "body, announced": (413, "body_too_large", f"{REQUEST}Content-Length: 1001\r\n\r\n".encode()),
    "body, chunked": (
        *(413, "body_too_large"),
        f"{REQUEST}Transfer-Encoding: chunked\r\n\r\n3e9\r\n{'a' * 1001}\r\n".encode(),
    ),
    "header_time": (408, "request_timeout", b"GET /webmail HTT"),
}


@pytest.mark.parametrize(("status", "reason", "data"), ABOVE.values(), ids=ABOVE)
def test_each_refusal_is_on_record_and_concerns_nobody_else(gateway, mail, status, reason, data):
    mail.answer("/webmail", lambda dialogue: dialogue.wait_closed())
    mail.answer("/webmail/other", default_answer)
    with Client(gateway.port) as client, Client(gateway.port) as other:
        assert other.ask("GET", "/webmail/other").status == 200
        client.send(data)
        assert other.ask("POST", "/webmail/other", body=bytes(1000)).status == 200
        answer = client.answer()
        assert answer.verdict == (status, reason)
    assert ask(gateway.port, "/webmail/other").status == 200
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["status"], record["reason"]) == (status, reason)
    assert record["bytes_out"] == len(answer.body)


def test_whoever_does_not_speak_is_let_go(gateway, mail, outside):
    """Each at once, since every one of them takes a while: no hello, half a request, nothing after an answer."""
    silent = socket.create_connection((INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0))
    trickle = socket.create_connection((INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0))
    trickle.sendall(b"\x16\x03\x01\x02\x00\x01")
    with silent, trickle, Client(gateway.port) as half, Client(gateway.port) as idle:
        half.send(b"GET /webmail HTTP/1.1\r\nHost: mail")
        assert idle.ask("GET", "/webmail").status == 200
        assert half.answer().verdict == (408, "request_timeout")
        assert half.is_at_end()
        assert silent.recv(1) == b""
        assert trickle.recv(1) == b""
        assert idle.is_at_end()
    for record in gateway.log.of_address(outside, 2):
        assert (record["method"], record["status"], record["tls_version"]) == (None, None, None)
        assert record["reason"]
    assert len(mail.received) == 1


def test_one_address_too_often_is_told_so_and_others_are_not_affected(gateway, outside, wire):
    kept = [wire.client(gateway.port, source=outside) for _ in range(LIMITS["connections_per_ip"])]
    try:
        with wire.client(gateway.port, source=outside) as client:
            answer = client.ask("GET", "/webmail")
            assert answer.verdict == (429, "too_many_connections")
            assert client.is_at_end()
        with wire.client(gateway.port) as client:
            assert client.ask("GET", "/webmail").status == 200
    finally:
        for client in kept:
            client.close()

    def is_served_again():
        with wire.client(gateway.port, source=outside) as again:
            return again.ask("GET", "/webmail").verdict == (403, "certificate_missing")

    until(is_served_again, "closed connections are no longer counted")


def test_an_address_is_counted_over_all_workers(start, credentials, mail, outside):
    """Which worker takes a connection is chance; the limit is not."""
    limits = {"connections_per_ip": 6}
    gateway = start(settings_for(credentials.site, mail.url, workers=2, limits=limits))

    def fill():
        kept = [Client(gateway.port, source=outside) for _ in range(6)]
        try:
            with Client(gateway.port, source=outside) as client:
                return client.ask("GET", "/webmail").verdict
        finally:
            for client in kept:
                client.close()

    assert fill() == (429, "too_many_connections")
    until(lambda: fill() == (429, "too_many_connections"), "the closed ones are forgotten, and no more than those")


def test_requests_beside_others_count_as_connections_over_all_workers(start, credentials, mail, outside):
    """Over HTTP/2. Those over the limit wait, and are refused after five seconds."""
    gateway = start(settings_for(credentials.site, mail.url, workers=2, limits={"connections_per_ip": 6}))
    mail.answer("/webmail/poll", lambda dialogue: dialogue.wait_closed())
    context = context_for(None, credentials["alice"])
    with Wire(gateway.port, source=outside, context=h2_context(context_for(None, credentials["alice"]))) as wire:
        wire.send(*[wire.headers(stream_id, wire.get("/webmail/poll")) for stream_id in range(1, 17, 2)])
        until(lambda: len(mail.received) == 6, "as many reach the mail server as are allowed")
        with Client(gateway.port, source=outside, context=context) as client:
            assert client.ask("GET", "/webmail").verdict == (429, "too_many_connections")
        status, fields, _ = wire.answer(13)
        assert (status, fields["x-gateway-reason"]) == (429, "too_many_connections")
        assert wire.answer(15)[0] == 429
        assert len(mail.received) == 6

    def is_served_again():
        with Client(gateway.port, source=outside, context=context) as again:
            return again.ask("GET", "/webmail").status == 200

    until(is_served_again, "requests that have ended are no longer counted")
