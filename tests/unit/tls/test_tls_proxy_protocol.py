"""The PROXY header, byte by byte: what the specification allows, and nothing beside it."""

from ipaddress import ip_address

import pytest

from gateway.facts import Endpoint
from gateway.tls.proxy_protocol import (
    LOCAL_HEADER,
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    NOBODY,
    SIGNATURE,
    Header,
    ProxyProtocolError,
    crc32c,
    encode_v2,
    parse,
)

V4 = Header(Endpoint(ip_address("203.0.113.7"), 51234), Endpoint(ip_address("192.0.2.1"), 443))
V6 = Header(Endpoint(ip_address("2001:db8::7"), 51234), Endpoint(ip_address("2001:db8::1"), 443))
V4_ADDRESSES = bytes((203, 0, 113, 7, 192, 0, 2, 1)) + (51234).to_bytes(2) + (443).to_bytes(2)
V6_ADDRESSES = V6.client.address.packed + V6.local.address.packed + V4_ADDRESSES[8:]
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX_STREAM, UNIX_DATAGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32


def v2(rest, family=TCP4, command=PROXY):
    return SIGNATURE + bytes((command, family)) + len(rest).to_bytes(2) + rest


def tlv(kind, value):
    return bytes((kind,)) + len(value).to_bytes(2) + value


def summed(rest, family=TCP4, after=b""):
    """A header with the right checksum behind `rest`."""
    value = crc32c(v2(rest + tlv(3, bytes(4)) + after, family))
    return v2(rest + tlv(3, value.to_bytes(4)) + after, family)


def refused(data):
    with pytest.raises(ProxyProtocolError) as caught:
        parse(data)
    return caught.value.cause


# version 1


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443", V4),
        (b"PROXY TCP6 2001:db8::7 2001:DB8::1 51234 443", V6),
        (b"PROXY TCP6 2001:0db8:0:0:0:0:0:0007 2001:db8:0::1 51234 443", V6),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:c000:201 51234 443", V4),  # as inet_ntop writes mapped ones
        (
            b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535",
            Header(Endpoint(ip_address("0.0.0.0"), 0), Endpoint(ip_address("255.255.255.255"), 65535)),
        ),
        (b"PROXY UNKNOWN", NOBODY),
        (b"PROXY UNKNOWN 203.0.113.7 192.0.2.1 51234 443", NOBODY),
        (b"PROXY UNKNOWN  anything \x00\xff at all", NOBODY),
        (b"PROXY UNKNOWN " + b"x" * (MAX_V1_BYTES - 16), NOBODY),
    ],
)
def test_a_good_line_and_nothing_behind_it(line, header):
    line += b"\r\n"
    assert parse(line) == (header, len(line))
    assert parse(bytearray(line + b"\r\nGET / HTTP/1.1")) == (header, len(line))
    assert all(parse(line[:cut]) is None for cut in range(len(line)))


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY ",
        b"PROXY TCP4",
        b"PROXY tcp4 203.0.113.7 192.0.2.1 51234 443",
        b"PROXY TCP5 203.0.113.7 192.0.2.1 51234 443",
        b"PROXY UDP4 203.0.113.7 192.0.2.1 51234 443",
        b"PROXY UNKNOWNS",
        b"PROXY  UNKNOWN",
        b"PROXY  TCP4 203.0.113.7 192.0.2.1 51234 443",
        b"PROXY TCP4  203.0.113.7 192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443 ",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443 1",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234",
        b"PROXY TCP4 203.0.113.7\t192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113.07 192.0.2.1 51234 443",
        b"PROXY TCP4 0xcb.0.113.7 192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113 192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113.256 192.0.2.1 51234 443",
        b"PROXY TCP4 3405803783 192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113.\xb2 192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113.7/32 192.0.2.1 51234 443",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 51234 443",
        b"PROXY TCP4 ::ffff:203.0.113.7 ::ffff:192.0.2.1 51234 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.01 51234 443",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 51234 443",
        b"PROXY TCP6 2001:db8::7 192.0.2.1 51234 443",
        b"PROXY TCP6 fe80::1%1 2001:db8::1 51234 443",
        b"PROXY TCP6 2001:db8::7::1 2001:db8::1 51234 443",
        b"PROXY TCP6 2001:db8:7 2001:db8::1 51234 443",
        b"PROXY TCP6 20010:db8::7 2001:db8::1 51234 443",
        b"PROXY TCP6 ::ffff:203.0.113.07 2001:db8::1 51234 443",
        b"PROXY TCP6 [2001:db8::7] 2001:db8::1 51234 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 051234 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 0443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 99999",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1_0 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 00 443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1  443",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 \xb2 443",
    ],
)
def test_a_line_that_is_nearly_right_is_refused(line):
    assert "PROXY line" in refused(line + b"\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\n\r\n", b"\r\r\n", b"\rGET", b"\n" * 200])
def test_a_line_ends_in_crlf_and_in_nothing_less(end):
    assert "lone CR or LF" in refused(b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443" + end)


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"x", b"xx\r\n"])
def test_a_line_of_one_byte_more_than_the_longest(end):
    start = b"PROXY UNKNOWN " + b"x" * (MAX_V1_BYTES - 15)
    assert len(start) == MAX_V1_BYTES - 1
    assert parse(start) is None
    assert str(MAX_V1_BYTES) in refused(start + end)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"GET / HTTP/1.1",
        b"P\x00",
        b"PROXY\t",
        b"PROXYTCP4",
        b"proxy ",
        b" PROXY ",
        b"\r\nPROXY ",
        b"\x00",
    ],
)
def test_what_is_no_header_is_known_at_its_first_wrong_byte(data):
    assert "no PROXY header" in refused(data)


# version 2


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (v2(V4_ADDRESSES), V4),
        (v2(V6_ADDRESSES, TCP6), V6),
        (v2(bytes(10) + b"\xff\xff" + V4_ADDRESSES[:4] + V6_ADDRESSES[16:], TCP6), Header(V4.client, V6.local)),
        (v2(b"", UNSPEC), NOBODY),
        (v2(tlv(4, b"padding"), UNSPEC), NOBODY),
        (v2(b"", UNSPEC, LOCAL), NOBODY),
        (v2(V4_ADDRESSES, TCP4, LOCAL), NOBODY),  # the block of a LOCAL header is discarded, whatever is in it
        (v2(b"\xff" * 7, 0xFF, LOCAL), NOBODY),
        (v2(V4_ADDRESSES + tlv(4, b"") + tlv(0xEA, b"\x01vpce-0123") + tlv(0x20, bytes(5))), V4),
        (summed(V4_ADDRESSES), V4),
        (summed(V4_ADDRESSES + tlv(5, b"id"), after=tlv(4, b"x")), V4),
        (summed(V6_ADDRESSES, TCP6), V6),
        (summed(b"", UNSPEC), NOBODY),
    ],
)
def test_a_good_header_and_nothing_behind_it(data, header):
    assert parse(data) == (header, len(data))
    assert parse(bytearray(data + SIGNATURE)) == (header, len(data))
    assert all(parse(data[:cut]) is None for cut in range(len(data)))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (v2(V4_ADDRESSES, command=0x11), "version 1 of"),
        (v2(V4_ADDRESSES, command=0x31), "version 3 of"),
        (v2(V4_ADDRESSES, command=0x22), "unknown command 2"),
        (v2(V4_ADDRESSES, command=0x2F), "unknown command 15"),
        (v2(V4_ADDRESSES, UDP4), "UDP over IPv4"),
        (v2(V6_ADDRESSES, UDP6), "UDP over IPv6"),
        (v2(bytes(216), UNIX_STREAM), "a Unix stream"),
        (v2(bytes(216), UNIX_DATAGRAM), "a Unix datagram"),
        (v2(V4_ADDRESSES, 0x10), "0x10"),
        (v2(V4_ADDRESSES, 0x01), "0x01"),
        (v2(V4_ADDRESSES, 0x41), "0x41"),
        (v2(V4_ADDRESSES, 0x13), "0x13"),
        (v2(V4_ADDRESSES[:-1]), "shorter than its addresses"),
        (v2(V4_ADDRESSES, TCP6), "shorter than its addresses"),
        (v2(V4_ADDRESSES + b"\x04"), "cut short"),
        (v2(V4_ADDRESSES + b"\x04\x00"), "cut short"),
        (v2(V4_ADDRESSES + b"\x04\x00\x01"), "beyond"),
        (v2(V4_ADDRESSES + tlv(4, b"x") + b"\x05\xff\xff"), "beyond"),
        (v2(b"\x04\x00\x01", UNSPEC), "beyond"),
        (v2(V4_ADDRESSES + tlv(3, b"")), "checksum"),
        (v2(V4_ADDRESSES + tlv(3, bytes(5))), "checksum"),
        (v2(V4_ADDRESSES + tlv(3, bytes(4))), "checksum is wrong"),
        (summed(V4_ADDRESSES)[:-1] + b"\x00", "checksum is wrong"),
        (v2(summed(V4_ADDRESSES)[16:] + tlv(3, bytes(4))), "comes twice"),
    ],
)
def test_a_header_that_is_nearly_right_is_refused(data, cause):
    assert cause in refused(data)


def test_every_changed_byte_of_a_summed_header_is_noticed():
    good = summed(V4_ADDRESSES + tlv(5, b"id"))
    for position in range(16, 28):
        data = bytearray(good)
        data[position] ^= 0x40
        assert "checksum is wrong" in refused(data)


def test_the_longest_header_and_one_byte_more():
    room = MAX_V2_BYTES - 16 - len(V4_ADDRESSES) - 3
    longest = v2(V4_ADDRESSES + tlv(0xE0, bytes(room)))
    assert parse(longest) == (V4, MAX_V2_BYTES)
    above = v2(V4_ADDRESSES + tlv(0xE0, bytes(room + 1)))
    assert str(MAX_V2_BYTES) in refused(above[:16])  # from its length alone: nothing of it is kept
    assert str(MAX_V2_BYTES) in refused(v2(bytes(MAX_V2_BYTES - 15), 0, LOCAL)[:16])


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283  # the catalogue's check value of CRC-32/ISCSI
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4


# for upstreams


@pytest.mark.parametrize(
    ("header", "family", "length"),
    [(V4, TCP4, 28), (V6, TCP6, 52), (Header(V4.client, V6.local), TCP6, 52), (Header(V6.client, V4.local), TCP6, 52)],
)
def test_what_is_written_for_an_upstream(header, family, length):
    data = encode_v2(header.client, header.local)
    assert data[:14] == SIGNATURE + bytes((PROXY, family))
    assert parse(data) == (header, length)


def test_the_bytes_written_for_an_upstream():
    assert encode_v2(V4.client, V4.local) == v2(V4_ADDRESSES)
    assert encode_v2(V6.client, V6.local) == v2(V6_ADDRESSES, TCP6)


def test_a_header_of_nobodys_connection():
    assert v2(b"", UNSPEC, LOCAL) == LOCAL_HEADER
