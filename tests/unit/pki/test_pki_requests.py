"""Signing requests: the key counts, wishes don't."""

from __future__ import annotations

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.desk import NOW, Files
from support.pki import rsa_key

from gateway.errors import UsageError
from gateway.pki import issue, keys, requests
from gateway.x509.keys import are_equal

KEY = ec.generate_private_key(ec.SECP256R1())


def _request(*extensions, subject="CN=x", key=KEY, encoding=Encoding.PEM):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256() if key is KEY else None).public_bytes(encoding)


def _read(data, email="alice@example.com"):
    return requests.read(data, email=email, place="a.csr")


def test_an_honest_request_has_nothing_ignored():
    names = x509.SubjectAlternativeName([x509.RFC822Name("Alice@example.com")])
    basic = x509.BasicConstraints(ca=False, path_length=None)
    identifier = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    data = _request(names, basic, identifier, subject="1.2.840.113549.1.9.1=alice@example.com", encoding=Encoding.DER)
    assert _read(data).ignored == ()
    assert are_equal(_read(data).key, KEY.public_key())


def test_wishes_are_told_and_not_granted(desk, corp):
    data = _request(
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectAlternativeName([x509.RFC822Name("boss@example.com"), x509.DNSName("mail\x1b[31m.example.com")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.TLSFeature([x509.TLSFeatureType.status_request]),
        subject="CN=boss,1.2.840.113549.1.9.1=boss@example.com",
    )
    found = _read(data)
    assert set(found.ignored) == {
        "subject CN=boss",
        "subject 1.2.840.113549.1.9.1=boss@example.com",
        "basicConstraints CA:TRUE",
        "name boss@example.com",
        "name mail\ufffd[31m.example.com",
        "extendedKeyUsage serverAuth",
        "extension 1.3.6.1.5.5.7.1.24",
    }
    made = issue.issue(desk, corp, issue.Order.of_person("alice@example.com"), found.key, NOW, Files()).certificate
    assert made.subject.rfc4514_string() == "CN=alice@example.com,O=Example Ltd"
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.RFC822Name("alice@example.com")]
    assert are_equal(made.public_key(), KEY.public_key())


def test_without_an_address_every_name_is_foreign():
    data = _request(x509.SubjectAlternativeName([x509.RFC822Name("alice@example.com")]))
    assert _read(data, email=None).ignored == ("subject CN=x", "name alice@example.com")


def test_a_request_of_openssl(tmp_path):
    done = subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=alice"),
            *("-keyout", str(tmp_path / "k")),
        ],
        check=True,
        capture_output=True,
    )
    assert _read(done.stdout).key.key_size == 2048


def test_somebody_elses_key_is_refused():
    data = bytearray(_request(encoding=Encoding.DER))
    data[-3] ^= 1
    with pytest.raises(UsageError, match=r"a.csr: the request is not signed by its own key"):
        _read(bytes(data))


@pytest.mark.parametrize(
    "data", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request(data):
    with pytest.raises(UsageError, match=r"a.csr: holds no signing request"):
        _read(data)


def _unknown(oid, value=b"\x05\x00"):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


@pytest.mark.parametrize(
    "data",
    [
        # One extension twice: the builder makes none, so the second one's last digit is changed.
        _request(_unknown("1.2.3.1"), _unknown("1.2.3.2"), encoding=Encoding.DER).replace(
            b"\x2a\x03\x02", b"\x2a\x03\x01"
        ),
        _request(_unknown("2.5.29.17", b"\x30\x02\xa3\x00"), encoding=Encoding.DER),  # an x400Address
        _request(encoding=Encoding.DER).replace(b"\x02\x01\x00", b"\x02\x01\x09", 1),  # version 10
    ],
    ids=["duplicate extension", "unsupported name", "version"],
)
def test_a_hostile_request_is_told_of_in_our_own_words(data):
    with pytest.raises(UsageError, match=r"a.csr: holds no signing request"):
        _read(data)


def test_what_a_request_asks_for_moves_no_cursor():
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "boss\x1b[1A\r\nall is well")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(KEY, hashes.SHA256())
    assert _read(request.public_bytes(Encoding.PEM)).ignored == ("subject CN=boss\ufffd[1A\ufffd\ufffdall is well",)


def test_a_key_we_do_not_sign():
    with pytest.raises(UsageError, match=r"a.csr: this kind of key is not supported"):
        _read(_request(key=ed25519.Ed25519PrivateKey.generate()))
    assert keys.check(rsa_key().public_key(), "x") is not None
