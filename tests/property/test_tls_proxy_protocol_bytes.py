"""Hostile PROXY headers give a header, nothing yet, or this module's own error; the same however they are cut."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.facts import Endpoint, parse_address
from gateway.tls.proxy_protocol import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    SIGNATURE,
    Header,
    ProxyProtocolError,
    encode_v2,
    parse,
)

addresses = st.ip_addresses().map(lambda address: parse_address(str(address)))
endpoints = st.builds(Endpoint, addresses, st.integers(0, 65535))
tlvs = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=12)), max_size=4).map(
    lambda pairs: b"".join(bytes((kind,)) + len(value).to_bytes(2) + value for kind, value in pairs)
)
binary = st.builds(
    lambda command, family, rest, missing: (
        SIGNATURE + bytes((command, family)) + (len(rest) + missing).to_bytes(2) + rest
    ),
    st.sampled_from([0x20, 0x21]) | st.integers(0, 255),
    st.sampled_from([0x00, 0x11, 0x21]) | st.integers(0, 255),
    st.builds(bytes.__add__, st.sampled_from([bytes(12), bytes(36)]) | st.binary(max_size=60), tlvs),
    st.sampled_from([0, 0, 0, 1, 3, MAX_V2_BYTES]),
)
words = st.sampled_from(
    ["TCP4", "TCP6", "UNKNOWN", "1.2.3.4", "::1", "::ffff:1.2.3.4", "01.2.3.4", "443", "0", "00", "65536", " ", "", "é"]
)
text = st.builds(
    lambda parts, end: " ".join(["PROXY", *parts]).encode("latin-1") + end,
    st.lists(words, max_size=8),
    st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\r\n"]),
)
anything = st.binary(max_size=200) | binary | text | st.builds(bytes.__add__, text | binary, st.binary(max_size=120))


def outcome(data):
    try:
        return parse(data)
    except ProxyProtocolError as error:
        return error.cause


def outcome_of_pieces(data, cuts):
    """As a connection sees it: the first answer counts."""
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        if (found := outcome(data[:cut])) is not None:
            return found
    return None


@settings(max_examples=600, deadline=None)
@given(anything, st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_cut_anywhere(data, cuts):
    found = outcome(data)
    assert outcome_of_pieces(data, cuts) == found
    if isinstance(found, tuple):
        header, length = found
        assert 0 < length <= len(data)
        assert (header.client is None) == (header.local is None)
        assert outcome(data[:length]) == found
        assert outcome(data[:length] + b"\x00\r\n more") == found
    elif found is None:
        assert len(data) < (MAX_V2_BYTES if data.startswith(SIGNATURE) else MAX_V1_BYTES)


@settings(max_examples=300, deadline=None)
@given(endpoints, endpoints, st.binary(max_size=40))
def test_what_is_written_reads_as_it_was_meant(client, local, behind):
    data = encode_v2(client, local)
    assert parse(data + behind) == (Header(client, local), len(data))


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535), st.binary(max_size=40))
def test_a_line_reads_as_it_was_meant(address, port, behind):
    line = f"PROXY TCP{address.version} {address} {address} {port} {port}\r\n".encode()
    end = Endpoint(parse_address(str(address)), port)
    assert parse(line + behind) == (Header(end, end), len(line))
