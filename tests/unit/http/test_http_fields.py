"""A field section is read whole or refused whole, and leaves nothing behind for the next one."""

import pytest

from gateway.http.fields import FieldsError, parse_fields

GOOD = b"Host: a\r\nX-Y:  z \r\nEmpty:\r\n\r\n"
READ = [(b"Host", b"a"), (b"X-Y", b"z "), (b"Empty", b"")]


def test_names_keep_their_spelling_and_values_lose_leading_space():
    assert parse_fields(GOOD) == READ


def test_a_section_may_be_empty():
    assert parse_fields(b"\r\n") == []


@pytest.mark.parametrize("names", ["!#$%&'*+-.^_`|~09azAZ", "x" * 60_000])
def test_every_token_is_a_name(names):
    assert parse_fields(names.encode() + b": v\r\n\r\n") == [(names.encode(), b"v")]


@pytest.mark.parametrize("value", [bytes(range(0x21, 0x7F)), bytes(range(0x80, 0x100)), b"a \t b", b"x" * 100_000])
def test_every_visible_byte_may_stand_in_a_value(value):
    assert parse_fields(b"X: " + value + b"\r\n\r\n") == [(b"X", value)]


@pytest.mark.parametrize("byte", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_no_control_character_may(byte):
    with pytest.raises(FieldsError):
        parse_fields(b"X: a" + bytes([byte]) + b"b\r\n\r\n")


@pytest.mark.parametrize("byte", [*range(0x21), *b'"(),/;<=>?@[\\]{}', 0x7F, 0x80, 0xFF])
def test_no_other_byte_may_stand_in_a_name(byte):
    with pytest.raises(FieldsError):
        parse_fields(b"X" + bytes([byte]) + b"Y: a\r\n\r\n")


@pytest.mark.parametrize("connection", [b"close", b"keep-alive", b"Close, TE", b"upgrade", b"x"])
@pytest.mark.parametrize("framing", [b"Content-Length: 999999999999", b"Transfer-Encoding: chunked"])
def test_sections_are_read_the_same_however_many_came_before(connection, framing):
    """llhttp keeps the length of a message that ends its connection, and appends the next one's digits to it."""
    section = b"Connection: " + connection + b"\r\n" + framing + b"\r\n\r\n"
    expected = [(b"Connection", connection), tuple(framing.split(b": "))]
    assert [parse_fields(section) for _ in range(20)] == [expected] * 20
    assert parse_fields(GOOD) == READ


BROKEN = [
    b"",
    b"X: y",
    b"X: y\r\n",
    b"X: y\r\n\r",
    b"\r",
    b"X: y\n\n",
    b"X: y\r\n z\r\n\r\n",
    b"X: y\r\n\tz\r\n\r\n",
    b" X: y\r\n\r\n",
    b": y\r\n\r\n",
    b"X\r\n\r\n",
    b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    # what stands behind the end must not be read, least of all as the message that the next section belongs to
    b"X: y\r\n\r\nH",
    b"X: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"X: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
    b"X: y\r\n\r\nHTTP/1.1 101 A\r\nConnection: Upgrade\r\nUpgrade: b\r\n\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"\r\nX: y\r\n\r\n",
]


@pytest.mark.parametrize("section", BROKEN)
def test_whatever_was_refused_before_the_next_section_is_read_the_same(section):
    with pytest.raises(FieldsError) as caught:
        parse_fields(section)
    assert str(caught.value)
    assert parse_fields(GOOD) == READ


@pytest.mark.parametrize(
    "section",
    [
        b"Connection: close\r\n\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Content-Length: 900\r\n\r\n",
        b"Proxy-Connection: close\r\n\r\n",
        b"Trailer: X\r\n\r\n",
    ],
)
def test_what_a_section_says_of_its_own_message_is_nothing_to_the_parser(section):
    assert len(parse_fields(section)) >= 1
    assert parse_fields(GOOD) == READ


def test_sections_do_not_share_their_lists():
    first = parse_fields(GOOD)
    assert parse_fields(b"A: b\r\n\r\n") == [(b"A", b"b")]
    assert first == READ
