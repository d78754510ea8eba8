from ipaddress import IPv4Address, IPv6Address

import pytest

from gateway.errors import (
    ConfigError,
    OperationError,
    RequestError,
    UsageError,
    as_clause,
    as_sentence,
    exit_code,
    in_one_line,
)
from gateway.facts import NO_CERTIFICATE, STATUS_OF_REASON, Reason, counted, counted_text, parse_address


def test_every_reason_has_a_status():
    """A refusal without a status could not be sent."""
    assert set(STATUS_OF_REASON) == set(Reason)
    assert RequestError(Reason.HOST_MISMATCH, "x").status == 421


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", IPv4Address("192.0.2.1")),
        ("::ffff:192.0.2.1", IPv4Address("192.0.2.1")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
        ("fe80::1%eth0", IPv6Address("fe80::1")),
    ],
)
def test_a_mapped_address_counts_as_ipv4_and_a_scope_does_not_count(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "address", "words"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::", "2001:db8:1:3::/64"),
    ],
)
def test_an_ipv6_client_is_counted_as_its_64(text, address, words):
    assert counted(parse_address(text)) == parse_address(address)
    assert counted_text(parse_address(text)) == words


@pytest.mark.parametrize(("error", "code"), [(ConfigError("x"), 2), (UsageError("x"), 2), (OperationError("x"), 1)])
def test_unusable_input_exits_with_2_and_failure_with_1(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize("remedy", ["Run `gateway check`.", "run `gateway check`"])
def test_a_remedy_ends_a_line_or_is_a_sentence(remedy):
    assert as_clause(remedy) == "run `gateway check`"
    assert as_sentence(remedy) == "Run `gateway check`."


def test_no_remedy_is_no_sentence():
    assert (as_clause(""), as_sentence("")) == ("", "")


def test_a_line_of_the_log_has_the_cause_and_the_remedy_if_there_is_one():
    assert in_one_line(OperationError("it broke", "Mend it.")) == "it broke; mend it"
    assert in_one_line(OperationError("it broke")) == "it broke"


def test_no_certificate_is_not_trusted():
    assert not NO_CERTIFICATE.is_trusted
