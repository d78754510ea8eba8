"""What is kept out together, and what those get who are."""

import pytest

from gateway.facts import Reason
from gateway.proxy.lockout import LockedOut, key_of_text
from gateway.proxy.login_binding import binds_connection, is_failed_login


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
    ],
)
def test_an_ipv6_client_is_its_64(text, key):
    assert key_of_text(text) == key


def test_no_address_has_no_key():
    with pytest.raises(ValueError, match="not-an-address"):
        key_of_text("not-an-address")


@pytest.mark.parametrize(("seconds", "header"), [(0.2, 1), (1.0, 1), (61.5, 62)])
def test_the_time_to_wait_is_whole_seconds_and_never_too_short(seconds, header):
    error = LockedOut(seconds)
    assert (error.reason, error.status, error.retry_after_seconds) == (Reason.LOCKED_OUT, 429, header)


@pytest.mark.parametrize(
    "value",
    [
        b"NTLM TlRMTVNTUAAB",
        b"Negotiate",
        b"negotiate oRQwEg==",
        b"NTLM",
        b'Basic realm="x", Negotiate',
        b"Bearer,\tNTLM",
    ],
)
def test_ntlm_and_negotiate_bind_the_connection(value):
    assert binds_connection(value)


@pytest.mark.parametrize(
    "value", [b"Basic dXNlcjpwdw==", b'Basic realm="NTLM is off"', b"Bearer ntlm", b"NTLMv9 x", b"", b"Digest"]
)
def test_other_schemes_do_not(value):
    assert not binds_connection(value)


@pytest.mark.parametrize(
    ("credentials", "challenge", "is_failed"),
    [
        (None, b"Basic", False),  # only asked for credentials
        (b"Basic eA==", b"Basic", True),
        (b"Basic eA==", None, True),
        (b"NTLM TlRMTVNTUAAB", b"NTLM TlRMTVNTUAAC", False),  # the handshake goes on
        (b"NTLM TlRMTVNTUAAD", b"NTLM", True),
        (b"Negotiate YII", b"Negotiate, Basic realm=x", True),
    ],
)
def test_a_401_fails_a_login_only_where_credentials_were_wrong(credentials, challenge, is_failed):
    assert is_failed_login(credentials, challenge) is is_failed
