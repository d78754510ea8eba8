"""RFC 7239 and X-Forwarded-For: who is named, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.facts import Reason, parse_address
from gateway.http.forwarded import MAX_FORWARDED_ENTRIES, forwarded_for_entries, forwarded_nodes

# Examples of RFC 7239, sections 4, 6 and 7, and the corners of its grammar.
GOOD = {
    b'For="[2001:db8:cafe::17]:4711"': ["2001:db8:cafe::17"],
    b"for=192.0.2.60;proto=http;by=203.0.113.43": ["192.0.2.60"],
    b"for=192.0.2.43, for=198.51.100.17": ["192.0.2.43", "198.51.100.17"],
    b'for=192.0.2.43, for="[2001:db8:cafe::17]"': ["192.0.2.43", "2001:db8:cafe::17"],
    b'for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown': ["192.0.2.43", "2001:db8:cafe::17", None],
    b"for=_hidden, for=_SEVKISEK": [None, None],
    b'for="_gazonk"': [None],
    b'for="192.0.2.43:47011"': ["192.0.2.43"],
    b'for="192.0.2.43:_port"': ["192.0.2.43"],
    b'for="unknown:0"': [None],
    b"for=UNKNOWN": [None],
    b'FOR="192.0.2.1"': ["192.0.2.1"],
    b'for="\\1\\9\\2.0.2.1"': ["192.0.2.1"],
    b'for="[::ffff:192.0.2.1]"': ["192.0.2.1"],
    b"by=_a;proto=https": [None],
    b'host="a,b;for=1.2.3.4";for=192.0.2.1': ["192.0.2.1"],
    b'host="\\"";for=192.0.2.1': ["192.0.2.1"],
    b'x="\xe4\t";for=192.0.2.1': ["192.0.2.1"],
    b'x="";for=192.0.2.1': ["192.0.2.1"],
    b";for=192.0.2.1;": ["192.0.2.1"],
    b"for=192.0.2.1;;proto=http;": ["192.0.2.1"],
    b"for=192.0.2.1\t , for=192.0.2.2 \t": ["192.0.2.1", "192.0.2.2"],
    b"secret=a.b~c;for=192.0.2.1": ["192.0.2.1"],
}
BAD = [
    *(b"", b" ", b",", b";", b"for", b"for=", b"=192.0.2.1", b"192.0.2.1", b"for=192.0.2.1,", b", for=192.0.2.1"),
    *(b"for=192.0.2.1,,for=192.0.2.2", b"for=192.0.2.1;for=192.0.2.2", b"for=192.0.2.1;For=192.0.2.1"),
    *(b"for =192.0.2.1", b"for= 192.0.2.1", b"for=192.0.2.1; proto=http", b"for=192.0.2.1 for=192.0.2.2"),
    *(b"for=192.0.2.1:80", b"for=[2001:db8::1]", b'for="2001:db8::1"', b'for="[2001:db8::1"', b'for="2001:db8::1]"'),
    *(b'for="[192.0.2.1]"', b'for="[fe80::1%eth0]"', b'for="[2001:db8::1]:"', b'for="192.0.2.1:123456"', b'for=""'),
    *(b"for=hidden", b"for=mail.example.com", b"for=192.0.2.01", b"for=192.0.2", b"for=192.0.2.256", b"for=_"),
    *(b'for="192.0.2.1', b'for=192.0.2.1"', b'for="192.0.2.1"x', b'for="192.0.2.1\\"', b'for="192.0.2.1\\'),
    *(b'for="192.0.2.1\x00"', b"for=192.0.2.1\x00", b"for=192.0.2.1\xff", b'for="_a\x7f"', b"f\xf6r=192.0.2.1"),
    # a client's own quotation mark in front of what the proxy writes
    *(b'for="_a, for=192.0.2.1', b'for=_a;by=", for=192.0.2.1;by="[::1]"'),
]


@pytest.mark.parametrize("value", GOOD, ids=repr)
def test_every_element_names_somebody_or_nobody(value):
    assert forwarded_nodes(value) == [node and parse_address(node) for node in GOOD[value]]


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_what_is_not_rfc_7239_is_refused_whole(value):
    for text in (value, b"for=192.0.2.9, " + value):
        with pytest.raises(RequestError) as caught:
            forwarded_nodes(text)
        assert caught.value.reason is Reason.BAD_REQUEST


def test_a_chain_may_have_so_many_elements_and_no_more():
    elements = [b"for=192.0.2.1"] * MAX_FORWARDED_ENTRIES
    assert len(forwarded_nodes(b", ".join(elements))) == MAX_FORWARDED_ENTRIES
    with pytest.raises(RequestError, match="more than 32 elements"):
        forwarded_nodes(b", ".join([*elements, b"for=192.0.2.1"]))
    entries = [b"192.0.2.1"] * MAX_FORWARDED_ENTRIES
    assert len(forwarded_for_entries(b",".join(entries))) == MAX_FORWARDED_ENTRIES
    with pytest.raises(RequestError, match="more than 32 entries"):
        forwarded_for_entries(b",".join([*entries, b"192.0.2.1"]))


@given(st.binary(max_size=60) | st.text('for=";,\\_:[]1.2\t ', max_size=60).map(str.encode))
def test_hostile_bytes_give_nodes_or_a_bad_request(value):
    with contextlib.suppress(RequestError):
        assert 0 < len(forwarded_nodes(value)) <= MAX_FORWARDED_ENTRIES


@given(st.text('for=";,\\_:[]1.2 ', max_size=40).map(str.encode))
def test_what_a_client_writes_in_front_never_changes_whom_the_proxy_names(value):
    """The proxy appends its element to the client's own header."""
    try:
        nodes = forwarded_nodes(value + b', for="[2001:db8::7]:443";host="mail.example.com"')
    except RequestError:
        return
    assert nodes[-1] == parse_address("2001:db8::7")
