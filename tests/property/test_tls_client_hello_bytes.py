"""Hostile first flights give a hello, nothing yet, or this module's own error; the same however they are cut."""

import contextlib
import ssl
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tls.client_hello import ClientHelloError, ClientHelloReader, peek

RANDOM, SESSION_ID = slice(11, 43), slice(44, 76)


def _hello():
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="mail.example.com").do_handshake()
    hello = bytearray(outgoing.read())
    hello[RANDOM], hello[SESSION_ID] = bytes(32), bytes(32)  # the same in every run but for the key share's numbers
    return bytes(hello)


HELLO = _hello()


def outcome(pieces):
    reader = ClientHelloReader()
    try:
        for piece in pieces:
            if (found := reader.feed(piece)) is not None:
                return found
    except ClientHelloError as error:
        return error.cause
    return None


def cut(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes(data, is_tls, places):
    if is_tls:
        data = b"\x16\x03\x01" + len(data).to_bytes(2) + data
    assert outcome(cut(data, places)) == outcome([data])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(HELLO) - 1), st.integers(0, 255)), max_size=3),
    st.lists(st.integers(0, len(HELLO)), max_size=8),
)
def test_a_real_hello_with_changed_bytes(changes, places):
    data = bytearray(HELLO)
    for position, value in changes:
        data[position] = value
    assert outcome(cut(bytes(data), places)) == outcome([bytes(data)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, len(HELLO)), max_size=12), st.lists(st.integers(0, 3000), max_size=12))
def test_a_real_hello_over_any_records_and_segments(record_places, segment_places):
    fragments = [piece for piece in cut(HELLO[5:], record_places) if piece]
    stream = b"".join(b"\x16\x03\x03" + len(piece).to_bytes(2) + piece for piece in fragments)
    assert outcome(cut(stream, segment_places)) == peek(HELLO)
