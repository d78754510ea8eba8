"""What is kept out together, and what those get who are."""

import pytest

from gateway.facts import NO_CERTIFICATE, Identity, Judgement, Reason
from gateway.http.headers import RequestClassifier
from gateway.http.http1 import parse_request
from gateway.proxy.exchange.connection_logins import binds_connection, is_failed_login
from gateway.proxy.limits.lockout import LockedOut, Who, certificate_name, key_of, key_of_text


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


FINGERPRINT = "ab" * 32


def judged(reason=None, **names):
    values = dict.fromkeys(("serial", "subject", "issuer", "not_before", "not_after", "der"))
    values |= dict.fromkeys(("rdns", "upns", "dns_names", "uris", "chain_der", "path_fingerprints", "emails"), ())
    return Judgement(Identity(**(values | {"fingerprint": FINGERPRINT, "common_name": None} | names)), reason, "")


@pytest.mark.parametrize(
    ("judgement", "key", "shown"),
    [
        (NO_CERTIFICATE, "192.0.2.1", "192.0.2.1"),
        (judged(Reason.CERTIFICATE_EXPIRED, emails=("a@example.com",)), "192.0.2.1", "192.0.2.1"),
        (
            judged(emails=("a@example.com", "b@example.com"), common_name="Alice"),
            f"192.0.2.1 {FINGERPRINT} a@example.com",
            "192.0.2.1 with the certificate abababababababab of a@example.com",
        ),
        (
            judged(common_name="Alice \x9bWonder\nland"),
            f"192.0.2.1 {FINGERPRINT} Alice \\x9bWonder?land",
            "192.0.2.1 with the certificate abababababababab of Alice \\x9bWonder?land",
        ),
        (judged(), f"192.0.2.1 {FINGERPRINT} ", "192.0.2.1 with the certificate abababababababab"),
    ],
)
def test_a_trusted_certificate_is_counted_beside_its_address(judgement, key, shown):
    assert key_of("192.0.2.1", judgement) == key
    assert str(Who.of(key)) == shown
    assert Who.of(key).address == "192.0.2.1"


def test_a_key_is_bounded():
    assert len(key_of("192.0.2.1", judged(emails=("a" * 5000 + "@example.com",)))) < 150


@pytest.mark.parametrize(
    ("text", "is_called"),
    [
        ("a@example.com", True),
        ("A@Example.com ", True),
        (FINGERPRINT, True),
        (FINGERPRINT.upper(), True),
        ("AB:AB:AB:AB", True),
        ("b@example.com", False),
        ("abababac", False),
    ],
)
def test_a_certificate_is_called_by_its_mail_address_or_the_first_digits_of_its_fingerprint(text, is_called):
    name = certificate_name(text)
    assert Who.of(f"192.0.2.1 {FINGERPRINT} a@example.com").is_called(name) is is_called
    assert not Who.of("192.0.2.1").is_called(name)


@pytest.mark.parametrize("text", ["", "mail.example.com", "abababa", "ab" * 33, "xyzxyzxyz"])
def test_what_is_neither_calls_nobody(text):
    assert certificate_name(text) is None


@pytest.mark.parametrize(("seconds", "header"), [(0.2, 1), (1.0, 1), (61.5, 62)])
def test_the_time_to_wait_is_whole_seconds_and_never_too_short(seconds, header):
    error = LockedOut(seconds, "192.0.2.1", "it would have been let in")
    assert (error.reason, error.status, error.retry_after_seconds) == (Reason.LOCKED_OUT, 429, header)
    assert error.for_log == "too many failed attempts from 192.0.2.1; otherwise it would have been let in"


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


def asked(method="GET", *fields):
    lines = [f"{method} /webmail HTTP/1.1", "Host: a", *fields, "", ""]
    data = "\r\n".join(lines).encode()
    return parse_request(
        data, data.find(b"\r\n\r\n"), RequestClassifier(), uri_bytes=1000, headers=10, header_bytes=1000
    )


@pytest.mark.parametrize(
    ("credentials", "challenge", "is_failed"),
    [
        (None, b"Basic", False),  # only asked for credentials
        ("Basic eA==", b"Basic", True),
        ("Basic eA==", None, True),
        ("NTLM TlRMTVNTUAAB", b"NTLM TlRMTVNTUAAC", False),  # the handshake goes on
        ("NTLM TlRMTVNTUAAD", b"NTLM", True),
        ("Negotiate YII", b"Negotiate, Basic realm=x", True),
        ("Bearer", b"Bearer authorization_uri=x, Basic", False),  # how Outlook asks where its tokens come from
        ("bearer ", b"Bearer", False),
        ("NTLM", b"NTLM", False),
        ("Bearer x", b"Bearer", True),
        ("BasicYTpi", b"Basic", True),
        ("Basic\tYTpi", b"Basic", True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_401_fails_a_login_only_where_credentials_were_wrong(method, credentials, challenge, is_failed):
    head = asked(method, *([] if credentials is None else [f"Authorization: {credentials}"]))
    assert is_failed_login(head, challenge) is is_failed


FORM = "Content-Type: application/x-www-form-urlencoded; charset=utf-8"
LENGTH = "Content-Length: 9"


@pytest.mark.parametrize(
    ("head", "challenge", "is_failed"),
    [
        (asked("POST", FORM, LENGTH), None, True),
        (asked("POST", "Content-Type: application/json", LENGTH), None, True),
        (asked("POST"), None, True),
        (asked("POST", "Authorization: Bearer", FORM, LENGTH), b"Basic", True),
        (asked("POST", FORM, LENGTH), b"Basic", True),
        (asked("POST", "content-type: Multipart/Form-Data; boundary=a", LENGTH), b"Basic", True),
        (asked("POST", LENGTH), b"Basic", True),
        (asked("POST", FORM), b"Basic", False),
        (asked("POST", FORM, LENGTH), b"Negotiate, NTLM", False),
        (asked("POST", "Content-Type: application/vnd.ms-sync.wbxml", LENGTH), b"Basic", False),
        (asked("POST", "Content-Type: text/xml", LENGTH), b"Basic", False),
        (asked("PUT", FORM, LENGTH), None, False),
        (asked("GET"), None, False),
    ],
)
def test_a_form_that_is_answered_401_is_a_login_and_a_first_request_without_one_is_not(head, challenge, is_failed):
    assert is_failed_login(head, challenge) is is_failed
