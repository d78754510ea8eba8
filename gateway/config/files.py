"""Certificates, keys and revocation lists from files, as `cryptography`'s objects.

A missing, empty, oversized or garbled file is a `ConfigError` with a remedy: never an empty result, so that no
trust anchor or revocation list goes missing in silence.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import ConfigError
from gateway.x509 import pem
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.unreadable import UNREADABLE

FILE_BYTES: Final = 64 * 1024 * 1024  # the largest public revocation lists have some 30 MiB
_CRL_BLOCK: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_DER_SEQUENCE: Final = b"\x30"  # every certificate, list and PKCS#12 file in DER begins with it
_Loaded = TypeVar("_Loaded")


def read_file(path: Path) -> bytes:
    """A regular file's bytes. Raises `ConfigError`."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path} is not a regular file", "name a file")
            data = file.read(FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", "put the file there, or correct the name") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder", "name a file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file name"
        raise ConfigError(f"{path} cannot be read: {reason}", "let the gateway's user read it") from error
    if len(data) > FILE_BYTES:
        raise ConfigError(f"{path} is larger than {FILE_BYTES:,} bytes", "name the right file")
    if not data.strip():
        raise ConfigError(f"{path} is empty", "put the file's content there")
    return data


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file in file order, at least one. Raises `ConfigError`."""
    data = read_file(path)
    if b"-----BEGIN" not in data and data.startswith(_DER_SEQUENCE):
        raise ConfigError(f"{path} is not PEM", f"convert it: openssl x509 -inform DER -in {path.name} -out …")
    with _mapped(path, "a broken certificate"):
        count = pem.certificate_blocks(data, path.name)
    if not count:
        what = "a private key and no certificate" if b"PRIVATE KEY-----" in data else "no PEM certificate"
        raise ConfigError(f"{path} holds {what}", "name a file that begins with -----BEGIN CERTIFICATE-----")
    with _mapped(path, "a broken certificate"):
        return tuple(_readable(_parse_certificates, data, count))


def load_private_key(path: Path, password: str | None = None, *, may_be_encrypted: bool = True) -> PrivateKeyTypes:
    """The PEM file's private key; a password that isn't needed is ignored. Raises `ConfigError`.

    `may_be_encrypted`: there is a setting for the password.
    """
    data = read_file(path)
    if b"PRIVATE KEY-----" not in data:
        raise ConfigError(f"{path} holds no PEM private key", "name a file that holds -----BEGIN … PRIVATE KEY-----")
    is_encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data
    if is_encrypted and not may_be_encrypted:
        raise ConfigError(f"{path} is encrypted", f"decrypt it: openssl pkey -in {path.name} -out …")
    if is_encrypted and not password:
        raise ConfigError(f"{path} is encrypted", "give its password with key_password: ${NAME}")
    try:
        return _readable(load_pem_private_key, data, password.encode() if is_encrypted and password else None)
    except UNREADABLE as error:
        if is_encrypted:
            raise ConfigError(f"{path} cannot be decrypted", "correct key_password") from error
        raise ConfigError(f"{path} holds a broken private key", "export it again as PEM") from error


def load_revocation_lists(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Every revocation list of a PEM or DER file, at least one. Raises `ConfigError`."""
    data = read_file(path)
    with _mapped(path, "no readable revocation list"):
        if b"-----BEGIN" in data and (count := pem.list_blocks(data)):
            blocks = zip(range(count), _CRL_BLOCK.findall(data), strict=True)  # another number is a ValueError
            return tuple(_readable(_parse_list, x509.load_pem_x509_crl, block) for _, block in blocks)
        return (_readable(_parse_list, x509.load_der_x509_crl, data),)


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_readable_by_all(path: Path) -> bool:
    """True where every user of the machine may read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _parse_certificates(data: bytes, count: int) -> list[x509.Certificate]:
    found = x509.load_pem_x509_certificates(data)
    # These parts are read when they are asked for; a broken one should show here.
    for _, certificate in zip(range(count), found, strict=True):
        _ = certificate.version, subject_of(certificate).rfc4514_string(), issuer_of(certificate).rfc4514_string()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return found


def _parse_list(load: Callable[[bytes], x509.CertificateRevocationList], data: bytes) -> x509.CertificateRevocationList:
    found = load(data)
    _ = issuer_of(found).rfc4514_string(), found.last_update_utc, found.next_update_utc
    return found


@contextmanager
def _mapped(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except pem.PemError as error:
        raise ConfigError(f"{path}: {error.cause}", error.remedy) from error
    except UNREADABLE as error:
        raise ConfigError(f"{path} holds {what}", "put the right file there, whole and in PEM") from error


def _readable(load: Callable[..., _Loaded], *arguments: object) -> _Loaded:
    with warnings.catch_warnings():
        # Old certificates (serial 0, long lifetimes) load with a deprecation warning that says nothing to admins.
        warnings.simplefilter("ignore")
        return load(*arguments)
