"""A self-signed certificate for a host, until there is one of a public CA: marked as a test, and valid for 90 days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS: Final = 90
MARK: Final = "TEST certificate of gateway init"
# Clocks of phones and virtual machines are off by minutes at times.
_BACKDATED: Final = timedelta(hours=1)


def make(hosts: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """(certificate, key) as PEM; the key is not encrypted, since the gateway starts unattended."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The names that count are in the subjectAltName; a common name would be limited to 64 characters.
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, MARK)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
