"""The files of one certificate: all or none are written, no existing file is replaced, secret files have mode 0600."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.access import exists
from gateway.pki import pkcs8, pkcs12
from gateway.pki.files import make_folder, write_private, write_public
from gateway.pki.issue import Issued
from gateway.pki.keys import PrivateKey
from gateway.pki.words import P12Format
from gateway.x509.fields import issuer_of, subject_of

_SUFFIXES = ("crt", "key", "p12", "password")


@dataclass(slots=True, kw_only=True)
class Delivery:
    """What to write for a certificate. Call it with the issued certificate; then `paths` has the written files."""

    folder: Path
    stem: str
    key: PrivateKey | None = field(default=None, repr=False)  # None: it was made elsewhere
    password: str | None = field(default=None, repr=False)  # of key and p12 file; None: a plain key and no p12 file
    p12_format: P12Format = P12Format.COMPAT
    has_password_file: bool = False
    paths: list[Path] = field(default_factory=list)

    def __call__(self, issued: Issued) -> None:
        """Write the files. Raises `OperationError`, and then leaves none of them."""
        make_folder(self.folder)
        stem = free_stem(self.folder, self.stem, issued, _SUFFIXES)
        try:
            for suffix, write, data in self._files(issued):
                path = self.folder / f"{stem}.{suffix}"
                write(path, data)
                self.paths.append(path)
        except BaseException:
            for path in self.paths:
                path.unlink(missing_ok=True)
            raise

    def _files(self, issued: Issued) -> list[tuple[str, Callable[[Path, bytes], None], bytes]]:
        files: list[tuple[str, Callable[[Path, bytes], None], bytes]] = [("crt", write_public, served(issued))]
        if self.key is None:
            return files
        if self.password is None:
            return [*files, ("key", write_private, pkcs8.plain_pem(self.key))]
        files.append(("key", write_private, pkcs8.encrypt(self.key, self.password)))
        files.append(("p12", write_private, p12_of(issued, self.key, self.password, self.p12_format)))
        if self.has_password_file:
            files.append(("password", write_private, f"{self.password}\n".encode()))
        return files


def free_stem(folder: Path, stem: str, issued: Issued, suffixes: Iterable[str]) -> str:
    """A stem for new files: an existing key may still be needed for old mail, and is never overwritten."""
    is_taken = any(exists(folder / f"{stem}.{suffix}") for suffix in suffixes)
    return f"{stem}-{issued.record.serial[:8]}" if is_taken else stem


def p12_of(issued: Issued, key: PrivateKey, password: str, format_: P12Format) -> bytes:
    """The PKCS#12 file of a certificate; devices show the person's name."""
    return pkcs12.build(
        key=key,
        certificate=issued.certificate,
        chain=issued.chain,
        name=issued.record.common_name,
        password=password,
        format_=format_,
    )


def served(issued: Issued) -> bytes:
    """The certificates that are sent in a handshake, PEM: the certificate and those between it and the root."""
    between: list[x509.Certificate] = [issuer for issuer in issued.chain if subject_of(issuer) != issuer_of(issuer)]
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in (issued.certificate, *between))
