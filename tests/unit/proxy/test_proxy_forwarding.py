"""Who the client is behind proxies, and what the upstream is told of it."""

from ipaddress import ip_network

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason, parse_address
from gateway.policy.networks import NetworkSet
from gateway.proxy.forwarding import MAX_FORWARDED_FOR_ENTRIES, client_address, forwarding_headers

TRUSTED = NetworkSet([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
PROXY, STRANGER = parse_address("10.0.0.1"), parse_address("203.0.113.9")


def client(value, peer=PROXY):
    return str(client_address(peer, value, TRUSTED))


def test_without_the_header_the_peer_is_the_client():
    assert client(None) == "10.0.0.1"


def test_nobody_else_is_believed():
    assert client(b"198.51.100.7", STRANGER) == "203.0.113.9"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7", "198.51.100.7"),  # the left one is the client's own word
        (b"198.51.100.7,10.0.0.2 ,\t10.0.0.3", "198.51.100.7"),
        (b"nonsense, 198.51.100.7, 10.0.0.3", "198.51.100.7"),
        (b"10.0.0.4, 10.0.0.3", "10.0.0.4"),  # all trusted: the first of them
        (b"198.51.100.7:5123", "198.51.100.7"),
        (b"2001:db8::7", "2001:db8::7"),
        (b"[2001:db8::7]", "2001:db8::7"),
        (b"[2001:db8::7]:443", "2001:db8::7"),
        (b"::ffff:198.51.100.7", "198.51.100.7"),
        (b"fe80::1%eth0", "fe80::1"),
    ],
)
def test_the_right_most_entry_that_is_no_proxy_is_the_client(value, expected):
    assert client(value) == expected


@pytest.mark.parametrize(
    "value",
    [b"", b"unknown", b"198.51.100.7,", b"198.51.100.7, _hidden", b"198.51.100", b"01.2.3.4", b"\xff", b"1.2.3.4:5:6"],
)
def test_what_is_no_address_cannot_be_judged(value):
    with pytest.raises(RequestError) as caught:
        client(value)
    assert caught.value.reason is Reason.BAD_REQUEST


def test_a_chain_may_have_so_many_entries_and_no_more():
    entries = [b"10.0.0.2"] * MAX_FORWARDED_FOR_ENTRIES
    assert client(b",".join(entries)) == "10.0.0.2"
    with pytest.raises(RequestError):
        client(b",".join([*entries, b"10.0.0.2"]))


def test_the_upstream_is_told_in_both_ways():
    block = forwarding_headers(STRANGER, None, "mail.example.com", scheme="https", port=443)
    assert block == (
        b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: mail.example.com\r\nX-Forwarded-Port: 443\r\n"
        b"Forwarded: for=203.0.113.9;host=mail.example.com;proto=https\r\n"
    )


def test_an_ipv6_address_is_quoted_where_rfc_7239_wants_it():
    block = forwarding_headers(parse_address("2001:db8::1"), b"2001:db8::1, ::1", "[::1]", scheme="https", port=8443)
    assert b"X-Forwarded-For: 2001:db8::1, ::1\r\n" in block
    assert b'Forwarded: for="[2001:db8::1]";host="[::1]";proto=https\r\n' in block
