"""PKCS#12 files in the two formats that devices import.

`compat` is 3DES with SHA-1, which older Apple, Android and Windows versions need; `modern` is AES-256 with SHA-256,
which newer versions prefer. In both, the protection depends on the password, since the MAC has only 2,048 rounds.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    PKCS12Certificate,
    load_pkcs12,
    serialize_key_and_certificates,
)

from gateway.errors import UsageError
from gateway.pki.keys import PrivateKey, check
from gateway.pki.words import P12Format

# As many as the MAC has; its rounds can't be chosen. An attacker guesses passwords with the cheaper of the two, so more
# rounds here would cost 45 ms a file and protect nothing. The password has to be strong.
ROUNDS: Final = 2_048


def build(
    *,
    key: PrivateKey,
    certificate: x509.Certificate,
    chain: tuple[x509.Certificate, ...],
    name: str,
    password: str,
    format_: P12Format,
) -> bytes:
    """A PKCS#12 file with key, certificate and every authority above it; `name` is what the device shows."""
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(ROUNDS)
    if format_ is P12Format.MODERN:
        builder = builder.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    else:
        builder = builder.key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())  # noqa: S303
    authorities = [PKCS12Certificate(issuer, None) for issuer in chain]
    encryption = builder.build(password.encode())
    return serialize_key_and_certificates(name.encode(), key, certificate, authorities, encryption)


def open_(data: bytes, password: str, place: str) -> tuple[PrivateKey, x509.Certificate]:
    """The key and certificate in a PKCS#12 file. Raises `UsageError` that names `place`."""
    try:
        found = load_pkcs12(data, password.encode())
    except ValueError as error:
        raise UsageError(
            f"{place}: the password does not open the p12 file", "Give the password with which the file was made."
        ) from error
    if not isinstance(found.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or found.cert is None:
        raise UsageError(
            f"{place}: holds no key with its certificate", "Give a p12 file that has a key and its certificate."
        )
    check(found.key.public_key(), place)
    return found.key, found.cert.certificate
