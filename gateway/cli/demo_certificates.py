"""Throw-away certificates on P-256: an authority, and what it signs. For trying things out, never for real users.

Keeps true: every certificate ends within `VALID_DAYS`, and a key leaves the process only into a file that only its
owner can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway import clock

VALID_DAYS: Final = 7
# Clocks of virtual machines are off by minutes at times.
BACKDATED: Final = timedelta(hours=1)
ORGANISATION: Final = "Example Ltd"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for a server or a person, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        """Both as PEM; the key is not encrypted."""
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        write_private(
            key,
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def write_p12(self, file: Path, *, name: str, password: str, authority: Authority) -> None:
        """Certificate, key and authority as PKCS#12 (RFC 7292), as browsers and phones import them."""
        encryption = serialization.BestAvailableEncryption(password.encode())
        chain = [authority.certificate]
        write_private(
            file, pkcs12.serialize_key_and_certificates(name.encode(), self.key, self.certificate, chain, encryption)
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority whose key never leaves the process."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, common_name: str) -> Authority:
        """A new self-signed root."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name)
        builder = (
            _builder(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue_server(self, common_name: str, names: list[x509.GeneralName]) -> Leaf:
        """A certificate for a server under these names."""
        return self._issue(common_name, names, ExtendedKeyUsageOID.SERVER_AUTH)

    def issue_person(self, common_name: str, email: str) -> Leaf:
        """A certificate for a person with this e-mail address."""
        return self._issue(common_name, [x509.RFC822Name(email)], ExtendedKeyUsageOID.CLIENT_AUTH)

    def write(self, file: Path) -> None:
        """The certificate as PEM."""
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(self, common_name: str, names: list[x509.GeneralName], usage: x509.ObjectIdentifier) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(_name(common_name), self.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Leaf(certificate, key)


def write_private(file: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    file.touch(mode=0o600)
    file.write_bytes(data)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
