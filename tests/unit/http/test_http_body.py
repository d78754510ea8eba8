"""A body ends where its framing says; what stands behind it is handed back."""

import pytest

from gateway.http.body import (
    MAX_CHUNKS_AT_ONCE,
    MAX_SIZE_DIGITS,
    MAX_SIZE_LINE_BYTES,
    MAX_TRAILER_BYTES,
    BodyError,
    ChunkedReader,
    CloseReader,
    FramedReader,
    LengthReader,
    encode_chunk,
    encode_last_chunk,
)


def test_a_body_of_a_known_length():
    body = LengthReader(5)
    assert body.feed(b"hel") == (b"hel", b"")
    assert not body.is_complete
    assert body.feed(b"lo") == (b"lo", b"")
    assert body.is_complete
    assert body.feed(b"GET") == (b"", b"GET")
    assert body.trailers == []


def test_what_is_behind_a_length_is_handed_back():
    assert LengthReader(2).feed(b"abcd") == (b"ab", b"cd")


def test_no_length_is_complete_at_once():
    assert LengthReader(0).is_complete


def test_until_close_everything_belongs_to_it():
    body = CloseReader()
    assert body.feed(b"0\r\n\r\n") == (b"0\r\n\r\n", b"")
    assert not body.is_complete
    assert body.trailers == []


def test_a_frame_ends_a_body_of_http_2():
    body = FramedReader()
    assert body.feed(b"0\r\n\r\n") == (b"0\r\n\r\n", b"")
    assert not body.is_complete
    body.end([(b"x-sum", b"1")])
    assert body.is_complete
    assert body.trailers == [(b"x-sum", b"1")]


@pytest.mark.parametrize("more", [0, 1])
def test_trailers_are_as_long_at_most_over_http_2_as_in_chunks(more):
    value = b"a" * (MAX_TRAILER_BYTES - len(b"x-sum: ") + more)
    framed, chunked = FramedReader(), ChunkedReader()
    ends = (lambda: framed.end([(b"x-sum", value)])), (lambda: chunked.feed(b"0\r\nx-sum: " + value + b"\r\n\r\n"))
    for reader, end in zip((framed, chunked), ends, strict=True):
        if more:
            with pytest.raises(BodyError, match="trailer fields longer than 8192 bytes"):
                end()
        else:
            end()
        assert reader.is_complete == (not more)


def test_chunks_over_many_pieces():
    body = ChunkedReader()
    assert body.feed(b"") == (b"", b"")
    assert body.feed(b"5") == (b"", b"")
    assert body.feed(b"\r") == (b"", b"")
    assert body.feed(b"\nhe") == (b"he", b"")
    assert body.feed(b"llo") == (b"llo", b"")
    assert body.feed(b"\r") == (b"", b"")
    assert body.feed(b"\n1\r\nX\r\n2;a=b\r\nYZ") == (b"XYZ", b"")
    assert not body.is_complete
    assert body.feed(b"\r\n0\r\nX-Sum: 1\r") == (b"", b"")
    assert body.feed(b"\n\r\nGET") == (b"", b"GET")
    assert body.is_complete
    assert body.trailers == [(b"X-Sum", b"1")]
    assert body.feed(b"more") == (b"", b"more")


@pytest.mark.parametrize("count", [MAX_CHUNKS_AT_ONCE - 1, MAX_CHUNKS_AT_ONCE, MAX_CHUNKS_AT_ONCE + 1])
def test_so_many_chunks_are_read_at_once(count):
    body = ChunkedReader()
    payload, rest = body.feed(b"1\r\nx\r\n" * count + b"0\r\n\r\nGET")
    assert len(payload) == min(count, MAX_CHUNKS_AT_ONCE)
    assert body.is_complete == (count < MAX_CHUNKS_AT_ONCE)
    more, rest = body.feed(rest) if not body.is_complete else (b"", rest)
    assert (len(payload + more), rest, body.is_complete) == (count, b"GET", True)


def test_a_whole_chunk_is_not_copied():
    body = ChunkedReader()
    assert body.feed(b"4\r\n") == (b"", b"")
    data = b"abc"
    assert body.feed(data)[0] is data


def size_line(length):
    return b"5;" + b"a" * (length - 2)


@pytest.mark.parametrize("cut", [1, 100, MAX_SIZE_LINE_BYTES, MAX_SIZE_LINE_BYTES + 1, MAX_SIZE_LINE_BYTES + 2])
def test_the_longest_size_line_is_taken_wherever_it_is_cut(cut):
    data = size_line(MAX_SIZE_LINE_BYTES) + b"\r\nhello"
    body = ChunkedReader()
    assert body.feed(data[:cut])[0] + body.feed(data[cut:])[0] == b"hello"


@pytest.mark.parametrize("cut", [1, MAX_SIZE_LINE_BYTES + 1, MAX_SIZE_LINE_BYTES + 2, MAX_SIZE_LINE_BYTES + 3])
def test_one_byte_more_is_refused_wherever_it_is_cut(cut):
    data = size_line(MAX_SIZE_LINE_BYTES + 1) + b"\r\nhello"
    body = ChunkedReader()
    with pytest.raises(BodyError):
        body.feed(data[:cut]) and body.feed(data[cut:])


def test_the_largest_chunk_has_15_digits():
    body = ChunkedReader()
    assert body.feed(b"f" * MAX_SIZE_DIGITS + b"\r\nx") == (b"x", b"")
    with pytest.raises(BodyError, match="malformed chunk size"):
        ChunkedReader().feed(b"f" * (MAX_SIZE_DIGITS + 1) + b"\r\nx")


def trailers(length):
    """A last chunk with trailers of `length` bytes, their empty line not counted."""
    return b"0\r\nX: " + b"y" * (length - 3) + b"\r\n\r\n"


@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 5])
def test_the_longest_trailers_are_taken_wherever_they_are_cut(left):
    data = trailers(MAX_TRAILER_BYTES)
    body = ChunkedReader()
    body.feed(data[: len(data) - left])
    body.feed(data[len(data) - left :])
    assert body.is_complete
    assert len(body.trailers[0][1]) == MAX_TRAILER_BYTES - 3


@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 5])
def test_one_byte_more_of_them_is_refused_wherever_it_is_cut(left):
    data = trailers(MAX_TRAILER_BYTES + 1)
    body = ChunkedReader()
    with pytest.raises(BodyError, match="longer than"):
        body.feed(data[: len(data) - left]) and body.feed(data[len(data) - left :])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x\r\n", "malformed chunk size"),
        (b"5\n", "size line does not end in CRLF"),
        (b"5\rx", "size line does not end in CRLF"),
        (b"1\r\nab", "a chunk does not end in CRLF"),
        (b"1\r\na\rb", "a chunk does not end in CRLF"),
        (b"0\r\nx\r\n\r\n", "trailer fields: "),
        (b"0\r\nX: y\r\n z\r\n\r\n", "trailer fields: "),
    ],
)
def test_after_an_error_nothing_is_payload_any_more(data, words):
    body = ChunkedReader()
    for more in (data, b"", b"5\r\nhello\r\n", b"\r\n0\r\n\r\n"):
        with pytest.raises(BodyError, match=words):
            body.feed(more)
    assert not body.is_complete


def test_what_is_written_can_be_read():
    assert encode_chunk(b"") == b""
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert encode_last_chunk([]) == b"0\r\n\r\n"
    assert encode_last_chunk([(b"A", b"b"), (b"C", b"")]) == b"0\r\nA: b\r\nC: \r\n\r\n"
