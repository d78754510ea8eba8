"""What the upstream is told of the certificate's holder: only trusted ones, and never more than one line."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from cryptography import x509
from support.pki import Ca

from gateway.config.model import IdentityHeaders
from gateway.errors import ConfigError
from gateway.facts import NO_CERTIFICATE, Identity, Judgement, Reason
from gateway.http.identity_headers import MAX_VALUE_BYTES, IdentityHeaderWriter, encoded, encoded_address
from gateway.x509.names import identity_of, load_certificate

ALICE = Identity(
    fingerprint="ab" * 32,
    serial="0A1B",
    subject="CN=Alice,O=Example Ltd",
    issuer="CN=Example CA",
    rdns=(("O", "Example Ltd"), ("CN", "Alice")),
    common_name="Alice",
    emails=("alice@example.com", "second@example.com"),
    upns=(),
    dns_names=(),
    uris=(),
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2027, 1, 1, tzinfo=UTC),
    der=b"leaf",
    chain_der=(b"intermediate", b"root"),
    path_fingerprints=frozenset(),
)
TRUSTED = Judgement(ALICE, None, "")


def headers(judgement: Judgement, settings: IdentityHeaders | None = None) -> dict[str, str]:
    block = IdentityHeaderWriter(settings or IdentityHeaders()).headers_for(judgement).decode("ascii")
    assert block.endswith("\r\n")
    return dict(line.split(": ", 1) for line in block[:-2].split("\r\n"))


def test_a_trusted_certificate_is_presented_whole() -> None:
    assert headers(TRUSTED) == {
        "X-Client-Verified": "SUCCESS",
        "Client-Cert": f":{base64.b64encode(b'leaf').decode()}:",
        "Client-Cert-Chain": ", ".join(f":{base64.b64encode(der).decode()}:" for der in (b"intermediate", b"root")),
        "X-Client-Subject": "CN=Alice,O=Example Ltd",
        "X-Client-Email": "alice@example.com",
        "X-Client-Serial": "0A1B",
        "X-Client-Fingerprint": "ab" * 32,
    }


def test_without_a_certificate_only_that_is_said() -> None:
    assert headers(NO_CERTIFICATE) == {"X-Client-Verified": "NONE"}


@pytest.mark.parametrize("reason", list(Reason))
def test_an_untrusted_certificate_is_no_identity(reason: Reason) -> None:
    assert headers(Judgement(ALICE, reason, "")) == {"X-Client-Verified": f"FAILED:{reason}"}


def test_headers_that_are_switched_off_are_not_sent_and_their_defaults_not_stripped() -> None:
    settings = IdentityHeaders(rfc9440=False, subject=None, email="Remote_User", serial=None, fingerprint=None)
    assert headers(TRUSTED, settings) == {"X-Client-Verified": "SUCCESS", "Remote_User": "alice@example.com"}
    assert IdentityHeaderWriter(settings).names == {
        b"client-cert",
        b"client-cert-chain",
        b"remote-user",
        b"x-client-verified",
    }


def test_nothing_configured_and_nobody_there_is_an_empty_block() -> None:
    settings = IdentityHeaders(rfc9440=False, subject=None, email=None, serial=None, fingerprint=None, verified=None)
    assert IdentityHeaderWriter(settings).headers_for(TRUSTED) == b""


def test_a_certificate_without_address_or_chain_gives_no_such_headers() -> None:
    found = headers(Judgement(replace(ALICE, emails=(), chain_der=()), None, ""))
    assert "X-Client-Email" not in found
    assert "Client-Cert-Chain" not in found


@pytest.mark.parametrize("name", ["", "X Client", "X:Y", "X\r\nY", "Über"])
def test_a_name_that_is_no_header_name_ends_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a header name"):
        IdentityHeaderWriter(IdentityHeaders(subject=name))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("CN=Jürgen", "CN=J%C3%BCrgen"),
        ("100%", "100%25"),
        ("a\r\nX-Client-Email: eve", "a%0D%0AX-Client-Email: eve"),
        ("a\x00b\x7f", "a%00b%7F"),
        ("  a b ", "%20%20a b%20"),
        (" ", "%20"),
        ("", ""),
        ('"#;,=~', '"#;,=~'),
    ],
)
def test_a_value_is_one_line_of_visible_ascii_and_can_be_read_back(text: str, value: str) -> None:
    assert encoded(text) == value
    assert unquote(value) == text


def test_a_lone_surrogate_breaks_nothing() -> None:
    assert encoded("\ud800") == "\\ud800"
    assert encoded_address("\ud800@\ud800") == "%5Cud800@%5Cud800"


ATEXT = "!#$&'*+-/=?^_`{|}~"  # and "%", which is what escapes begin with


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("alice.o'neil+mail@example.com", "alice.o'neil+mail@example.com"),
        (f"{ATEXT}@example.com", f"{ATEXT}@example.com"),
        ('"a,b"@example.com', "%22a%2Cb%22@example.com"),
        ("admin@example.com", "admin@example.com"),
        ("a,b;c:d<e>f(g)h[i]j\\k@x", "a%2Cb%3Bc%3Ad%3Ce%3Ef%28g%29h%5Bi%5Dj%5Ck@x"),
        ("100%@example.com", "100%25@example.com"),
        ("%2C@example.com", "%252C@example.com"),
        ("jürgen@müller.example", "j%C3%BCrgen@m%C3%BCller.example"),
        ("a@example.com,x.partner.example", "a@example.com%2Cx.partner.example"),
        ('a@x;y"z<w>(v)\\', "a@x%3By%22z%3Cw%3E%28v%29%5C"),
        ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("a@b@c", "a%40b@c"),
        ("no,address", "no%2Caddress"),
    ],
)
def test_nothing_in_an_address_parts_it_and_it_can_be_read_back(address: str, value: str) -> None:
    assert encoded_address(address) == value
    assert unquote(value) == address


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ('"a,b"@example.com', "%22a%2Cb%22@example.com"),
        ("admin,eve@example.com", "admin%2Ceve@example.com"),
        ("admin@example.com,x.partner.example", "admin@example.com%2Cx.partner.example"),
    ],
)
@pytest.mark.parametrize("place", ["alternative name", "subject"])
def test_a_comma_in_a_certificates_address_makes_no_second_one(address: str, value: str, place: str) -> None:
    # As it comes from others: from Python 3.13 on, RFC822Name itself refuses to make a bare comma.
    in_name = x509.SubjectAlternativeName([x509.RFC822Name._init_without_validation(address)])
    escaped = "".join(f"\\{mark}" if mark in '",' else mark for mark in address)
    leaf = (
        Ca.make().issue("CN=eve", extensions=[(in_name, False)])
        if place == "alternative name"
        else Ca.make().issue(f"CN=eve,1.2.840.113549.1.9.1={escaped}")
    )
    identity = identity_of(load_certificate(leaf.der))
    assert identity.emails == (address,)
    assert headers(Judgement(identity, None, ""))["X-Client-Email"] == value


def test_a_value_that_is_too_long_is_left_out_and_never_cut() -> None:
    fits = replace(ALICE, subject="a" * MAX_VALUE_BYTES)
    assert headers(Judgement(fits, None, ""))["X-Client-Subject"] == "a" * MAX_VALUE_BYTES
    longer = replace(ALICE, subject="a" * (MAX_VALUE_BYTES + 1), chain_der=(b"x" * MAX_VALUE_BYTES,))
    found = headers(Judgement(longer, None, ""))
    assert "X-Client-Subject" not in found
    assert "Client-Cert-Chain" not in found
    assert "Client-Cert" in found
