"""Floods of connections that never become a request: nobody else waits for them, and nothing of them stays."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from random import Random

import pytest
from support.client import Client
from support.crowd import drop, gather, reset
from support.first_flight import client_hello
from support.gateway import INSIDE
from support.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.e2e

FLOOD = 200
ENDED = b""


@pytest.fixture
def knock(gateway, outside):
    """A TCP connection without TLS."""
    made = []

    def knocks(port=gateway.port, source=outside):
        made.append(socket.create_connection((INSIDE, port), timeout=PATIENCE_SECONDS, source_address=(source, 0)))
        return made[-1]

    yield knocks
    for each in made:
        each.close()


def until_closed(plain) -> bytes:
    """All that comes until the gateway has closed."""
    data = b""
    with contextlib.suppress(ConnectionResetError), plain:
        while piece := plain.recv(65536):
            data += piece
    return data


def reasons_of(gateway, address, count):
    """Each reason with how often it was logged."""
    found = [record["reason"] for record in gateway.log.of_address(address, count)]
    return {reason: found.count(reason) for reason in found}


def test_connections_that_say_nothing(gateway, outside, knock, bystander):
    crowd = gather(FLOOD, knock)
    bystander.is_served()
    assert {until_closed(each) for each in crowd} == {ENDED}
    assert reasons_of(gateway, outside, FLOOD) == {"no ClientHello within the handshake time": FLOOD}


def test_handshakes_that_are_begun_and_never_finished(gateway, outside, context, knock, bystander):
    """The dearest thing: each one cost the gateway a signature, and is waited for."""
    hello = client_hello(context)
    crowd = gather(FLOOD, knock)
    for each in crowd:
        each.sendall(hello)
    bystander.is_served()
    for each in crowd:
        assert until_closed(each)[:1] == b"\x16"  # the gateway's own first flight
    records = gateway.log.of_address(outside, FLOOD)
    assert all(record["reason"].startswith("handshake_failed: ") for record in records)


@pytest.mark.parametrize("leave", [reset, drop])
def test_handshakes_that_are_broken_off(gateway, outside, context, knock, leave, bystander):
    hello = client_hello(context)
    crowd = gather(FLOOD, knock)
    for number, each in enumerate(crowd):
        each.sendall(hello[: 1 + number * 7 % (len(hello) - 1)] if number % 2 else hello)
    bystander.is_served()
    for each in crowd:
        leave(each)
    reasons = reasons_of(gateway, outside, FLOOD)
    assert reasons.pop("the connection ended in the middle of its ClientHello") == FLOOD // 2
    assert sum(reasons.values()) == FLOOD // 2
    assert all(reason.startswith("handshake_failed: ") for reason in reasons)


def test_finished_handshakes_that_nothing_follows(gateway, outside, connect, bystander):
    """No line: nobody was refused, and nothing was asked."""
    crowd = gather(FLOOD, connect)
    bystander.is_served()
    for number, each in enumerate(crowd):
        (reset, drop)[number % 2](each)
    bystander.is_served()
    assert not [record for record in gateway.log.records() if record["client_ip"] == outside]


GARBAGE = {
    "zeros": bytes(1000),
    "noise": bytes([0x80]) + Random(1).randbytes(999),
    "HTTP": b"GET / HTTP/1.1\r\nHost: mail.example.com\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "an SSLv2 hello": bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0")
    + Random(2).randbytes(16),
    "a record of 65535 bytes": b"\x16\x03\x01\xff\xff" + bytes(70_000),
    "an empty record": b"\x16\x03\x01\x00\x00" * 100,
    "another handshake message": b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "an endless hello": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(200_000),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_tls_at_all(gateway, outside, knock, garbage, bystander):
    crowd = gather(20, knock)
    for each in crowd:
        with contextlib.suppress(OSError):  # it may be closed already
            each.sendall(garbage)
    for each in crowd:
        until_closed(each)
    assert sum(reasons_of(gateway, outside, 20).values()) == 20
    bystander.is_served()


BROKEN = b"\x17\x03\x03\x00\x30" + Random(3).randbytes(48)  # a record that nobody encrypted


def test_tls_that_breaks_within_the_handshake(gateway, outside, context, knock, bystander):
    crowd = gather(20, knock)
    for each in crowd:
        each.sendall(client_hello(context) + BROKEN)
    for each in crowd:
        until_closed(each)
    records = gateway.log.of_address(outside, 20)
    assert all(record["reason"].startswith("handshake_failed: ") for record in records)
    bystander.is_served()


@pytest.mark.parametrize(
    "begun", [b"", b"POST /webmail HTTP/1.1\r\nHost: mail.example.com\r\nContent-Length: 9\r\n\r\nx"]
)
def test_tls_that_breaks_later(gateway, mail, outside, connect, begun):
    """An attacker in the middle, or a broken machine: what was under way is over, on both sides."""
    arrived, ended = [], []

    def answer(dialogue):
        arrived.append(dialogue)
        ended.append(dialogue.wait_closed())

    mail.answer("/webmail", answer)
    clients = gather(20, connect)
    if begun:
        for each in clients:
            each.send(begun)
        until(lambda: len(arrived) == 20, "all requests are under way")
    for each in clients:
        with socket.socket(fileno=os.dup(each.socket.fileno())) as beside:
            beside.sendall(BROKEN)
    for each in clients:
        with contextlib.suppress(OSError, EOFError):
            each.read(1)
        each.close()
    if not begun:
        assert not [record for record in gateway.log.records() if record["client_ip"] == outside]
        return
    until(lambda: len(ended) == 20, "the mail server's connections are closed")
    for record in gateway.log.of_address(outside, 20):
        assert (record["method"], record["status"], record["reason"]) == ("POST", None, None)


def test_a_client_hello_that_trickles(gateway, outside, context, knock, bystander):
    """A byte now and then does not prolong the time for it."""
    hello = client_hello(context)
    crowd = gather(50, knock)
    pause = threading.Event()
    for byte in hello[:40]:
        for each in crowd:
            with contextlib.suppress(OSError):
                each.sendall(bytes((byte,)))
        pause.wait(0.3)
    assert {until_closed(each) for each in crowd} == {ENDED}
    assert reasons_of(gateway, outside, 50) == {"no ClientHello within the handshake time": 50}
    bystander.is_served()


PROXY = {
    "no header": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half of one": b"PROXY TCP4 192.0.2.1 192.0",
    "no addresses": b"PROXY TCP4 a b c d\r\n",
    "an endless line": b"PROXY TCP4 " + b"1" * 200,
    "half a version 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0",
    "version 3": b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + bytes(12),
    "an endless version 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + bytes(65_535),
    "nothing": b"",
}


@pytest.mark.parametrize("garbage", PROXY.values(), ids=PROXY)
def test_what_is_no_proxy_header(gateway, knock, garbage, bystander):
    """On the listener that wants one; the balancer's own address is on record."""
    before = len(gateway.log.of_address(INSIDE, _count(gateway)))
    crowd = gather(20, lambda: knock(gateway.ports[1], INSIDE))
    for each in crowd:
        with contextlib.suppress(OSError):
            each.sendall(garbage)
    assert {until_closed(each) for each in crowd} == {ENDED}
    records = gateway.log.of_address(INSIDE, before + 20)[before:]
    assert all(record["reason"] and record["method"] is None for record in records)
    bystander.is_served()


def _count(gateway):
    return sum(record["client_ip"] == INSIDE for record in gateway.log.records())


def test_a_balancers_header_and_then_nothing_of_a_client(gateway, outsiders, knock, bystander):
    """Each client of the balancer counts, and is on record, by itself."""
    named = outsiders()
    crowd = gather(20, lambda: knock(gateway.ports[1], INSIDE))
    for each in crowd:
        each.sendall(f"PROXY TCP4 {named} 192.0.2.1 1234 443\r\n".encode())
    bystander.is_served()
    for each in crowd:
        until_closed(each)
    assert reasons_of(gateway, named, 20) == {"no ClientHello within the handshake time": 20}


def test_the_client_is_a_real_one(connect):
    """What all of these do wrong is done right by the same client."""
    with connect() as client:
        assert isinstance(client, Client)
        assert client.ask("GET", "/webmail").status == 200
