"""Files of certificates and keys as a configuration hands them on: read now."""

from __future__ import annotations

from pathlib import Path

from gateway.x509.files import CertificateFile, KeyFile
from gateway.x509.loading import load_certificates, load_private_key


def certificate_file(path: Path) -> CertificateFile:
    """What the file holds."""
    return CertificateFile(path, load_certificates(path))


def key_file(path: Path, password: str | None = None) -> KeyFile:
    """The same of a key."""
    return KeyFile(path, load_private_key(path, password))


def certificates_named(path: Path | str) -> CertificateFile:
    """A file that only its name is asked of: it equals any other of this name."""
    return CertificateFile(Path(path), ())


def key_named(path: Path | str) -> KeyFile:
    """The same for a key."""
    return KeyFile(Path(path), None)
