"""Bodies: the same payload, rest and trailers however they are split, and `BodyError` or nothing for any bytes."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.body import BodyError, ChunkedReader, LengthReader, encode_chunk, encode_last_chunk

places = st.lists(st.integers(0, 2000), max_size=10)
FRAGMENTS = [
    *(b"5\r\nhello\r\n", b"0\r\n", b"\r\n", b"\r", b"\n", b"5", b"a;b=c", b';d="e"', b"X: y\r\n", b"0\r\n\r\n", b" "),
    *(b"f" * 16, b"\x00", b"GET / HTTP/1.1\r\n", b"5\r\nhel", b"lo", b"Content-Length: 5\r\n", b"0;a\r\n"),
]
streams = st.one_of(st.binary(max_size=100), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))


def cut(data, where):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in where)})
    return [data[start:end] for start, end in pairwise(edges)]


def read(reader, pieces):
    """(payload, rest, trailers, whether it is complete), or None for a broken body."""
    payload, rest = b"", b""
    for piece in pieces:
        try:
            more, behind = reader.feed(piece)
        except BodyError:
            return None
        payload += more
        rest += behind
    return payload, rest, reader.trailers, reader.is_complete


@settings(max_examples=500, deadline=None)
@given(streams, places)
def test_any_bytes_as_chunks(data, where):
    whole = read(ChunkedReader(), [data])
    split = read(ChunkedReader(), cut(data, where))
    assert split == whole


token = st.text("abcXYZ019-", min_size=1, max_size=8).map(str.encode)
chunks = st.lists(st.binary(min_size=1, max_size=300), max_size=8)
fields = st.lists(st.tuples(token.map(lambda name: b"X-" + name), token), max_size=4)


@settings(max_examples=300, deadline=None)
@given(chunks, fields, st.binary(max_size=20), places)
def test_what_was_written_is_read(payloads, trailers, rest, where):
    data = b"".join(map(encode_chunk, payloads)) + encode_last_chunk(trailers) + rest
    assert read(ChunkedReader(), cut(data, where)) == (b"".join(payloads), rest, trailers, True)


@settings(max_examples=300, deadline=None)
@given(streams, streams, places)
def test_after_an_error_nothing_is_read(data, more, where):
    reader = ChunkedReader()
    if read(reader, cut(data, where)) is None:
        assert read(reader, [more]) is None
        assert read(reader, [b"\r\n0\r\n\r\n"]) is None
        assert not reader.is_complete


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), places)
def test_a_length(data, length, where):
    assert read(LengthReader(length), cut(data, where)) == (data[:length], data[length:], [], len(data) >= length)
