"""Certificates, keys and revocation lists from files; every failure is a `ConfigError` with a remedy.

Keeps true: everything it returns was read and parsed completely and is not empty. A missing file is an
error, never an empty list (CVE-2026-27586: a missing CA file made a server use the system's trust store).
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote as for_shell
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import crypto

from gateway import access
from gateway.errors import ConfigError
from gateway.regular_files import NotRegularError, TooLargeError, read_regular
from gateway.x509 import pem
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.foreign_files import Wanted, content_of, is_der, openssh_remedy, other_format
from gateway.x509.key_encryption import unsupported_encryption
from gateway.x509.keys import PrivateKey
from gateway.x509.unreadable import UNREADABLE

# A bundle of every public CA has 250 KiB; the largest public revocation lists have some 30 MiB.
MAX_FILE_BYTES: Final = 64 * 1024 * 1024


class NoPasswordError(ConfigError):
    """The key is encrypted, and no password was given."""


class tolerated_serials(warnings.catch_warnings):  # noqa: N801 - reads as a phrase
    """Suppresses `cryptography`'s warnings about serials that are zero or negative, which old CAs issued."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file that isn't empty or only white space. Raises `ConfigError`."""
    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", "put the file there, or correct the name") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder", "name a file") from error
    except NotRegularError as error:
        raise ConfigError(f"{path} is not a regular file", "name a file") from error
    except TooLargeError as error:
        raise ConfigError(f"{path} is {error.strerror}", "name the right file") from error
    except PermissionError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", access.to_read(path)) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "let the gateway's user read it") from error
    if not data.strip():
        raise ConfigError(f"{path} is empty", "put the file's content there")
    return data


def is_readable_by_all(path: Path) -> bool:
    """True if every user of the machine may read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def load_certificates(path: Path, *, takes_der: bool = False) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file in its order, at least one. Raises `ConfigError`.

    `takes_der`: the file may hold one certificate in DER as well.
    """
    return parse_certificates(read_file(path), str(path), name=str(path), takes_der=takes_der)


def parse_certificates(
    data: bytes, place: str, *, name: str = "FILE", takes_der: bool = False, wanted: Wanted = "certificate"
) -> tuple[x509.Certificate, ...]:
    """As `load_certificates`, from bytes; `place` and `name` (of the file) are for messages. Raises `ConfigError`."""
    is_one = takes_der and is_der(data)
    other = other_format(data, name, wanted)
    if other is not None and not (is_one and other[0] == "not PEM"):
        raise ConfigError(f"{place} is {other[0]}", other[1])
    with _mapped(place, "a broken certificate"):
        count = 1 if is_one else pem.certificate_blocks(data, name)
        if not count:
            held = content_of(data)
            what = "no PEM certificate" if held is None else f"{held} and no certificate"
            raise ConfigError(f"{place} holds {what}", _certificate_instead(held, wanted))
        with tolerated_serials():
            found = (x509.load_der_x509_certificate(data),) if is_one else tuple(x509.load_pem_x509_certificates(data))
            for _, certificate in zip(range(count), found, strict=True):  # raises ValueError if the numbers differ
                _read_lazy_parts(certificate)
    return found


def _certificate_instead(held: str | None, wanted: Wanted) -> str:
    """What to name instead of a file that holds something else than certificates."""
    if held == "a certificate request":
        return "name the certificate that the CA made from it"
    if held == "a revocation list" and wanted == "authorities":
        return "name the CA's certificate here, and this list under crl"
    return "name a file that begins with -----BEGIN CERTIFICATE-----"


def load_private_key(path: Path, password: str | None = None, *, may_be_encrypted: bool = True) -> PrivateKey:
    """The private key in a PEM file. An empty password means no password; one that isn't needed is ignored.

    `may_be_encrypted`: the configuration has a key for the password. Raises `ConfigError`.
    """
    return parse_private_key(read_file(path), path, password, may_be_encrypted=may_be_encrypted)


def is_encrypted(data: bytes) -> bool:
    """Whether the private key in a PEM file is encrypted."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data


def parse_private_key(data: bytes, path: Path, password: str | None, *, may_be_encrypted: bool) -> PrivateKey:
    """As `load_private_key`, from the file's bytes. Raises `ConfigError`."""
    name = for_shell(str(path))
    if (other := other_format(data, str(path), "key")) is not None:
        raise ConfigError(f"{path} is {other[0]}", other[1])
    if b"BEGIN OPENSSH PRIVATE KEY" in data:
        raise ConfigError(f"{path} is in OpenSSH's format", openssh_remedy(data, str(path)))
    if b"PRIVATE KEY-----" not in data:
        held = content_of(data)
        what = "no PEM private key" if held is None else f"{held} and no private key"
        raise ConfigError(f"{path} holds {what}", "name a file that holds -----BEGIN … PRIVATE KEY-----")
    has_password = is_encrypted(data)
    if has_password and not may_be_encrypted:
        out = for_shell(f"{path}.pem")
        raise ConfigError(f"{path} is encrypted", f"decrypt it and name {out}: openssl pkey -in {name} -out {out}")
    if has_password and not password:
        remedy = 'write key_password: "${NAME}", and set the environment variable NAME to the password'
        raise NoPasswordError(f"{path} is encrypted", remedy)
    try:
        secret = password.encode() if has_password and password else None
        key = serialization.load_pem_private_key(data, secret)
    except UNREADABLE as error:
        if has_password and (told := unsupported_encryption(error, data, str(path))) is not None:
            raise ConfigError(f"{path} {told[0]}", told[1]) from error
        if has_password:
            raise ConfigError(f"{path} cannot be decrypted", "correct key_password") from error
        raise ConfigError(f"{path} holds a broken private key", "export it again as PEM") from error
    if not isinstance(key, PrivateKey):
        raise ConfigError(
            f"{path} holds a key that is neither RSA, EC nor Ed25519", "make an RSA key of 2048 bits or an EC P-256 key"
        )
    return key


def certificate_in(der: bytes) -> x509.Certificate:
    """A certificate from DER that was checked before it was stored. Raises `ConfigError`."""
    try:
        with tolerated_serials():
            found = x509.load_der_x509_certificate(der)
            _read_lazy_parts(found)
    except UNREADABLE as error:
        raise ConfigError("a stored certificate is broken", "restore the registry from a backup") from error
    return found


def load_revocation_lists(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Every revocation list of a PEM or DER file, at least one. Raises `ConfigError`."""
    return parse_revocation_lists(read_file(path), str(path))


def parse_revocation_lists(data: bytes, place: str) -> tuple[x509.CertificateRevocationList, ...]:
    """As `load_revocation_lists`, from bytes; `place` is for messages. Raises `ConfigError`."""
    with _mapped(place, "no readable revocation list", data), tolerated_serials():
        if texts := pem.list_texts(data):
            return tuple(_parse_list(x509.load_pem_x509_crl, text) for text in texts)
        return (_parse_list(x509.load_der_x509_crl, data),)


def _read_lazy_parts(certificate: x509.Certificate) -> None:
    # `cryptography` reads these parts lazily; a broken part must be found here.
    _ = certificate.version, certificate.serial_number
    _ = subject_of(certificate).rfc4514_string(), issuer_of(certificate).rfc4514_string()
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    try:
        crypto.X509.from_cryptography(certificate)
    except crypto.Error as error:  # OpenSSL finds paths and serves the certificate
        raise ValueError("OpenSSL can't read the certificate") from error


def _parse_list(load: Callable[[bytes], x509.CertificateRevocationList], data: bytes) -> x509.CertificateRevocationList:
    found = load(data)
    _ = issuer_of(found).rfc4514_string(), found.last_update_utc, found.next_update_utc
    return found


@contextmanager
def _mapped(place: str, what: str, list_data: bytes = b"") -> Iterator[None]:
    try:
        yield
    except pem.PemError as error:
        raise ConfigError(f"{place}: {error.cause}", error.remedy) from error
    except UNREADABLE as error:
        if (held := content_of(list_data)) not in {None, "a revocation list"}:
            remedy = "name a file that begins with -----BEGIN X509 CRL-----, or a list in DER"
            raise ConfigError(f"{place} holds {held} and no revocation list", remedy) from error
        raise ConfigError(f"{place} holds {what}", "replace it with the complete file in PEM") from error
