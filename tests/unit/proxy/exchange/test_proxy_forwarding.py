"""Who the client is behind proxies, and what the upstream is told of it."""

from ipaddress import ip_network

import pytest

from gateway.errors import RequestError
from gateway.facts import Origin, Reason, parse_address
from gateway.http.forwarded import MAX_FORWARDED_ENTRIES
from gateway.policy.networks import NetworkSet
from gateway.proxy.exchange.forwarding import client_of, forwarding_headers

TRUSTED = NetworkSet([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
PROXY, STRANGER = parse_address("10.0.0.1"), parse_address("203.0.113.9")


def client(forwarded_for=None, forwarded=None, counts="x-forwarded-for"):
    """The client's address; that of a trusted proxy in parentheses, in brackets where it named nobody."""
    address, origin = client_of(PROXY, forwarded_for, forwarded, TRUSTED, counts)
    return {Origin.CLIENT: "{}", Origin.PROXY: "({})", Origin.UNNAMED: "[{}]"}[origin].format(address)


def refusal(*arguments):
    with pytest.raises(RequestError) as caught:
        client(*arguments)
    assert caught.value.reason is Reason.BAD_REQUEST
    return caught.value.cause


def test_without_the_header_no_client_is_known():
    assert client() == "[10.0.0.1]"
    assert client(None, None, "forwarded") == "[10.0.0.1]"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7", "198.51.100.7"),  # the left one is the client's own word
        (b"198.51.100.7,10.0.0.2 ,\t10.0.0.3", "198.51.100.7"),
        (b"nonsense, 198.51.100.7, 10.0.0.3", "198.51.100.7"),
        (b"10.0.0.4, 10.0.0.3", "(10.0.0.4)"),  # the first proxy named nobody
        (b"10.0.0.1", "(10.0.0.1)"),
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
    ("value", "expected"),
    [
        (b"for=198.51.100.7", "198.51.100.7"),
        (b"for=6.6.6.6, for=198.51.100.7", "198.51.100.7"),
        (b'for=198.51.100.7;proto=https, for="[fd00::1]:80", for=10.0.0.3', "198.51.100.7"),
        (b"for=10.0.0.4, for=10.0.0.3", "(10.0.0.4)"),
        (b"for=unknown", "[10.0.0.1]"),
        (b"for=198.51.100.7, for=_hidden", "[10.0.0.1]"),
        (b"for=198.51.100.7, for=unknown, for=10.0.0.3", "[10.0.0.3]"),
        (b"for=unknown, for=198.51.100.7", "198.51.100.7"),
        (b"proto=https", "[10.0.0.1]"),
    ],
)
def test_the_same_of_forwarded_where_that_counts(value, expected):
    assert client(None, value, "forwarded") == expected


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b"unknown",
            b"198.51.100.7,",
            b"198.51.100.7, _hidden",
            b"198.51.100",
            b"01.2.3.4",
            b"\xff",
            b"1.2.3.4:5:6",
        ),
        *(
            b"198.51.100.7:10.0.0.9",
            b"198.51.100.7:",
            b"[198.51.100.7",
            b"[2001:db8::7]10.0.0.9",
            b"[]",
            b"[[::1]]",
            b":80",
        ),
    ],
)
def test_what_is_no_address_cannot_be_judged(value):
    assert refusal(value) == "an X-Forwarded-For entry is not an IP address"


@pytest.mark.parametrize("value", [b"", b"for=", b"for=198.51.100", b"for=198.51.100.7,", b"198.51.100.7", b"for=\xff"])
def test_what_is_not_rfc_7239_cannot_be_judged(value):
    assert "Forwarded" in refusal(None, value, "forwarded")


def test_only_one_header_counts():
    assert client(None, b"for=198.51.100.7") == "[10.0.0.1]"
    assert client(b"198.51.100.7", None, "forwarded") == "[10.0.0.1]"


@pytest.mark.parametrize("counts", ["x-forwarded-for", "forwarded"])
def test_two_headers_that_name_different_clients_are_refused(counts):
    other = "X-Forwarded-For and Forwarded name different clients"
    assert refusal(b"198.51.100.7", b"for=198.51.100.8", counts) == other
    assert refusal(b"198.51.100.7", b"for=198.51.100.7, for=198.51.100.8", counts) == other
    assert client(b"198.51.100.7", b"for=198.51.100.7, for=10.0.0.2", counts) == "198.51.100.7"
    assert refusal(b"198.51.100.7", b"for=", counts)
    assert refusal(b"nonsense", b"for=198.51.100.7", counts)


def test_a_header_that_names_nobody_contradicts_nobody():
    assert client(b"198.51.100.7", b"for=unknown") == "198.51.100.7"
    assert client(b"10.0.0.2", b"for=198.51.100.7", "forwarded") == "198.51.100.7"


def test_a_chain_may_have_so_many_entries_and_no_more():
    entries = [b"10.0.0.2"] * MAX_FORWARDED_ENTRIES
    assert client(b",".join(entries)) == "(10.0.0.2)"
    assert refusal(b",".join([*entries, b"10.0.0.2"])) == "more than 32 entries in X-Forwarded-For"


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
