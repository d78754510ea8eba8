"""Answers as HTTP/1.1: where a body ends, and when the connection does. `test_proxy_answer_bytes` has whole answers."""

import pytest

from gateway.facts import STATUS_OF_REASON
from gateway.http.events import END, Data, End, Head, Interim, Upgrade, field, fields
from gateway.http.http1_writer import PHRASES, Http1Writer

FIELDS = fields([(b"A", b"b"), (b"C", b"")])


def head(*, is_sized, may_keep_alive=True, reason=b"Fine", status=299):
    return Head(status, reason, FIELDS, is_sized, may_keep_alive)


@pytest.mark.parametrize(
    ("minor", "is_sized", "may_keep_alive", "framing", "closes"),
    [
        (1, True, True, b"", False),
        (1, True, False, b"Connection: close\r\n", True),
        (1, False, True, b"Transfer-Encoding: chunked\r\n", False),
        (1, False, False, b"Transfer-Encoding: chunked\r\nConnection: close\r\n", True),
        (0, True, True, b"Connection: keep-alive\r\n", False),
        (0, True, False, b"Connection: close\r\n", True),
        (0, False, True, b"Connection: close\r\n", True),
        (0, False, False, b"Connection: close\r\n", True),
    ],
)
def test_the_framing_follows_from_the_length_and_the_clients_version(minor, is_sized, may_keep_alive, framing, closes):
    writer = Http1Writer(minor)
    written = writer.write([head(is_sized=is_sized, may_keep_alive=may_keep_alive)])
    assert written == b"HTTP/1.1 299 Fine\r\nA: b\r\nC: \r\n" + framing + b"\r\n"
    assert writer.closes is closes


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("is_sized", [True, False])
def test_a_body_is_the_same_in_pieces_and_at_once(minor, is_sized):
    events = [head(is_sized=is_sized), Data(b"0123456789abcdef"), Data(b""), Data(b"x"), End([(b"T", b"u")])]
    writer = Http1Writer(minor)
    written = Http1Writer(minor).write(events)
    assert b"".join(writer.write([event]) for event in events) == written
    body = written.partition(b"\r\n\r\n")[2]
    if minor and not is_sized:
        assert body == b"10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\nT: u\r\n\r\n"
    else:
        assert body == b"0123456789abcdefx"


def test_a_payload_that_stands_for_itself_is_not_copied():
    writer, payload = Http1Writer(), b"x" * 100
    writer.write([head(is_sized=True)])
    assert writer.write([Data(payload)]) is payload
    assert writer.write([Data(payload), END]) is payload
    assert writer.write([END]) == b""


def test_interim_answers_are_for_http_1_1():
    events = [Interim(103, b"Early Hints", FIELDS), head(is_sized=True)]
    written = Http1Writer().write(events)
    assert written == b"HTTP/1.1 103 Early Hints\r\nA: b\r\nC: \r\n\r\n" + Http1Writer().write(events[1:])
    assert Http1Writer(0).write(events[:1]) == b""


def test_after_an_upgrade_the_bytes_are_the_new_protocols():
    writer = Http1Writer()
    written = writer.write([Upgrade(b"Switching", field(b"A", b"b"), b"websocket"), Data(b"\x81\x02hi")])
    assert written == b"HTTP/1.1 101 Switching\r\nA: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"
    assert writer.closes


@pytest.mark.parametrize("status", sorted({200, 302, 304, 308, *STATUS_OF_REASON.values()}))
def test_each_status_of_the_gateway_has_its_phrase(status):
    written = Http1Writer().write([head(is_sized=True, reason=None, status=status)])
    assert written.startswith(b"HTTP/1.1 %d %b\r\nA: b\r\n" % (status, PHRASES[status]))
