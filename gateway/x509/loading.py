"""Certificates and keys from files as administrators have them; every failure is a `ConfigError` with a remedy.

What this module keeps true: what leaves it was read whole, parsed whole and is not empty; a missing file is an
error, never an empty list (CVE-2026-27586 was a missing CA file that meant the system's trust store).
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning

from gateway.errors import ConfigError
from gateway.x509 import pem
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.unreadable import UNREADABLE

# A bundle of every public CA has 250 KiB; a CRL of 100,000 entries has 4 MiB.
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
# RFC 7292 section 4: a SEQUENCE, of any length, that begins with the INTEGER 3.
_PKCS12: Final = re.compile(rb"\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...)\x02\x01\x03", re.DOTALL)

ServerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class tolerated_serials(warnings.catch_warnings):  # noqa: N801 - reads as a phrase
    """Old CAs gave serials that are zero or negative; `cryptography` reads them and warns, which helps nobody here."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)


def read(path: Path) -> bytes:
    """The file's bytes. Raises `ConfigError` when it is missing, unreadable, empty or above `MAX_FILE_BYTES`."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes", "name the right file")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a file that the gateway's user can read") from error
    if not data.strip():
        raise ConfigError(f"{path}: the file is empty", "put the PEM text into it")
    return data


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file in its order, or the one of a DER file. Raises `ConfigError`."""
    data = read(path)
    try:
        return parse_certificates(data, path.name)
    except pem.PemError as error:
        raise ConfigError(f"{path}: {error.cause}", error.remedy) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a readable certificate", _remedy(data, path.name)) from error


def _remedy(data: bytes, name: str) -> str:
    if _PKCS12.match(data):
        return f"it is PKCS#12; take the certificate out: openssl pkcs12 -in {name} -clcerts -nokeys -out {name}.pem"
    return "use PEM or DER certificates"


def parse_certificates(data: bytes, name: str = "FILE") -> tuple[x509.Certificate, ...]:
    """Certificates from PEM text or one DER certificate, their names and dates readable.

    `name` is the file's. Raises `ValueError`, of which `PemError` says what is not whole.
    """
    count = pem.certificate_blocks(data, name) if b"-----BEGIN" in data else 1
    with tolerated_serials():
        try:
            if b"-----BEGIN" in data:
                found = tuple(x509.load_pem_x509_certificates(data))
            else:
                found = (x509.load_der_x509_certificate(data),)
            for _, certificate in zip(range(count), found, strict=True):  # these parts are read when they are asked for
                _ = subject_of(certificate), issuer_of(certificate), certificate.version, certificate.serial_number
                _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        except UNREADABLE as error:
            raise ValueError(str(error)) from error
    return found


def load_private_key(path: Path, password: str | None) -> ServerKey:
    """A PEM private key, PKCS#8 or traditional, encrypted or not. Raises `ConfigError`.

    An empty password counts as none, and one for a key that isn't encrypted does no harm.
    """
    data = read(path)
    secret = password.encode() if password else None
    try:
        try:
            key = serialization.load_pem_private_key(data, secret)
        except TypeError:  # encrypted and no password, or the other way round
            if secret is None:
                raise ConfigError(f"{path}: the key is encrypted", "set key_password, best from ${NAME}") from None
            key = serialization.load_pem_private_key(data, None)
    except UNREADABLE as error:
        remedy = "check key_password" if secret else "use a PEM private key"
        raise ConfigError(f"{path}: not a readable private key ({error})", remedy) from error
    if not isinstance(key, ServerKey):
        raise ConfigError(f"{path}: not an RSA, EC or Ed25519 key", "make a key that TLS servers use")
    return key
