"""Requests out of a client's bytes, and which of them is known again."""

from dataclasses import replace

import pytest
from support.dialogue import get

from gateway.errors import RequestError
from gateway.proxy.client.request_reader import MAX_REMEMBERED_BYTES, RequestReader
from gateway.proxy.exchange.admission import Admitted


@pytest.fixture
def read(plain_snapshot):
    """Reads one request; an `Admitted` of its head, for the reader to remember."""

    def read(reader, data):
        end = reader.find_end(data, plain_snapshot.config.limits)
        head, rest = reader.read(data, end, plain_snapshot)
        return Admitted(head, b"", b"", None, None, None, None, None, "none", False, None), rest

    return read


def test_the_same_bytes_are_known_again_once_they_have_passed(read):
    reader = RequestReader()
    admitted, rest = read(reader, get())
    assert rest == b""
    assert reader.again(get()) is None
    reader.passed(admitted)
    assert reader.again(get()) is admitted
    assert reader.again(get("/webmail/2")) is None


def test_what_the_last_request_was_let_in_by_lets_no_other_in(read):
    """Between reading a request and judging it, its bytes must not lead to the judgement of the one before."""
    reader = RequestReader()
    reader.passed(read(reader, get("/webmail/1"))[0])
    read(reader, get("/webmail/2"))
    assert reader.again(get("/webmail/2")) is None
    assert reader.again(get("/webmail/1")) is None


@pytest.mark.parametrize("forget", [RequestReader.refused, RequestReader.forget])
def test_it_is_forgotten_when_told(read, forget):
    reader = RequestReader()
    reader.passed(read(reader, get())[0])
    forget(reader)
    assert reader.again(get()) is None


def test_one_that_others_follow_is_not_remembered_nor_a_long_one(read):
    reader = RequestReader()
    admitted, rest = read(reader, get() + get("/webmail/2"))
    assert rest == get("/webmail/2")
    reader.passed(admitted)
    assert reader.again(get() + get("/webmail/2")) is None
    for length, is_known in ((MAX_REMEMBERED_BYTES, True), (MAX_REMEMBERED_BYTES + 1, False)):
        data = get("/webmail", "X-Long: " + "a" * (length - len(get("/webmail", "X-Long: "))))
        assert len(data) == length
        reader.passed(read(reader, data)[0])
        assert (reader.again(data) is not None) is is_known


def test_an_unfinished_head_is_told_before_it_is_too_long(plain_snapshot):
    reader = RequestReader()
    limits = replace(plain_snapshot.config.limits, header_bytes=1024)
    assert reader.find_end(b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, limits) == -1
    with pytest.raises(RequestError, match="1024"):
        reader.find_end(b"GET / HTTP/1.1\r\nX: " + b"a" * 1100, limits)
