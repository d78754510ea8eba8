from ipaddress import IPv4Address, IPv6Address

import pytest

from gateway.errors import ConfigError, OperationError, RequestError, UsageError, exit_code
from gateway.facts import NO_CERTIFICATE, STATUS_OF_REASON, Reason, parse_address


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


@pytest.mark.parametrize(("error", "code"), [(ConfigError("x"), 2), (UsageError("x"), 2), (OperationError("x"), 1)])
def test_unusable_input_exits_with_2_and_failure_with_1(error, code):
    assert exit_code(error) == code


def test_no_certificate_is_not_trusted():
    assert not NO_CERTIFICATE.is_trusted
