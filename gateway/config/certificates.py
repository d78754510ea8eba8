"""Checks that the certificates, keys and revocation lists that a file names can be used for their purpose.

Expired and unsuitable files are errors, before a client meets them. Certificates that end soon are warnings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from shlex import quote as for_shell
from typing import Final

from cryptography import x509

from gateway.config.braces import expanded
from gateway.config.permissions import Permissions
from gateway.config.problems import Place, Problems, quote
from gateway.config.reading import Value
from gateway.config.yaml_text import as_yaml, as_yaml_list
from gateway.errors import ConfigError
from gateway.x509.authorities import is_ca
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.files import CertificateFile, KeyFile
from gateway.x509.foreign_files import Wanted
from gateway.x509.keys import fits
from gateway.x509.loading import (
    NoPasswordError,
    is_readable_by_all,
    load_revocation_lists,
)
from gateway.x509.reader import FileReader
from gateway.x509.revocation_list import RevocationList, outline
from gateway.x509.strength import weakness_of_key, weakness_of_signature
from gateway.x509.unreadable import UNREADABLE, in_words

_LIST_OF_FILES: Final = re.compile(r"\.(client_ca|crl)(?:\[\d+\])?$")
EXPIRY_WARNING_DAYS: Final = 30  # a month is enough for every CA's paperwork

Certificates = tuple[x509.Certificate, ...]


class Material:
    """Reads the files that a configuration names, relative to its folder, and checks them at `now`."""

    def __init__(
        self,
        folder: Path,
        now: datetime,
        problems: Problems,
        reads_list: Callable[[str], bool] = lambda _: True,
        *,
        reads_keys: bool = True,
    ) -> None:
        """`reads_list`: whether the revocation list at a path is read. Lists that are already in use are not.

        Without `reads_keys`, private keys and passphrases are not read.
        """
        self._reads_list = reads_list
        self.reads_keys = reads_keys
        self.folder = folder
        self.now = now
        self._problems = problems
        self._reader = FileReader()
        self.permissions = Permissions(problems)

    def path(self, value: Value) -> Path:
        """The absolute path of a file name. Warns if every user of this machine can write there."""
        path = self.folder / str(value.data)
        self.permissions.check(path, value.place)
        return path

    def certificates(self, value: Value, wanted: Wanted = "certificate") -> CertificateFile | None:
        """Every certificate of a PEM file; None (and an error) if the file can't be used."""
        try:
            return self._reader.certificates(self.path(value), wanted)
        except ConfigError as error:
            self._problems.error(value.place, error.cause, _name_remedy(value, error))
            return None

    def authorities(self, value: Value) -> CertificateFile | None:
        """The certificates of a file of trust anchors; each one that is not a valid CA is reported."""
        found = self.certificates(value, "authorities")
        for certificate in () if found is None else found.certificates:
            if not is_ca(certificate):
                self._problems.error(
                    value.place,
                    f"{name_of(certificate)} is not a CA certificate",
                    "use the certificate of the CA that issued the clients' certificates",
                )
            elif (cause := self._outdated(certificate)) is not None:
                self._problems.outdated(value.place, f"the CA {name_of(certificate)} {cause}", "replace or remove it")
            elif weakness_of_key(certificate) is not None:
                self._problems.warning(
                    value.place,
                    f"the CA {name_of(certificate)} has {weakness_of_key(certificate)}, so its certificates are not "
                    "trusted",
                    "make a new CA with RSA-2048, P-256 or better",
                )
            elif self._ends_soon(certificate):
                cause = f"the CA {name_of(certificate)} expires {_date(certificate.not_valid_after_utc)}"
                self._problems.warning(value.place, cause, "replace or remove it")
        return found

    def identity(
        self,
        certificate: Value,
        key: Value | None,
        password: str | None,
        *,
        may_be_encrypted: bool = True,
        is_password_faulty: bool = False,
    ) -> tuple[CertificateFile | None, KeyFile | None]:
        """A certificate with its key, as shown in a TLS handshake; None (and an error) if they don't fit.

        `is_password_faulty`: the file has a password whose error is already reported.
        """
        shown = self.certificates(certificate)
        secret = None
        if key is not None:
            secret = self._key(key, password, may_be_encrypted=may_be_encrypted, is_password_faulty=is_password_faulty)
        if shown is None:
            return None, secret
        chain = shown.certificates
        if key is None or secret is None or secret.key is None or fits(secret.key, chain[0]):
            self._leaf(chain, certificate.place)
            return shown, secret
        if any(fits(secret.key, other) for other in chain[1:]):
            cause = "the key's certificate is not the first in its file"
            self._problems.error(certificate.place, cause, "put the leaf first, and its intermediates after it")
        else:
            remedy = "use the key with which the certificate was requested"
            self._problems.error(key.place, f"the key does not fit {quote(certificate.written)}", remedy)
        return None, None

    def revocation_lists(self, value: Value) -> tuple[RevocationList, ...]:
        """The lists of a file, without their entries; empty (and an error) if one can't be used."""
        path = self.path(value)
        if not self._reads_list(str(path)):
            return ()
        try:
            return tuple(outline(crl, str(path)) for crl in load_revocation_lists(path))
        except ConfigError as error:
            self._problems.error(value.place, error.cause, _name_remedy(value, error))
        except UNREADABLE as error:
            self._problems.error(
                value.place, f"{path} holds a broken revocation list ({in_words(error)})", "issue it again"
            )
        return ()

    def _leaf(self, chain: Certificates, place: Place) -> None:
        leaf = chain[0]
        renewed = "renew it"
        if (cause := self._outdated(leaf)) is not None:
            self._problems.outdated(place, f"the certificate {cause}", renewed)
        elif self._ends_soon(leaf):
            self._problems.warning(place, f"the certificate expires {_date(leaf.not_valid_after_utc)}", renewed)
        anew = "issue it again with RSA-2048 or P-256, and SHA-256"
        if (weakness := weakness_of_key(leaf)) is not None:
            self._problems.error(place, f"the certificate has {weakness}", anew)
        elif issuer_of(leaf) != subject_of(leaf) and (weakness := weakness_of_signature(leaf)) is not None:
            self._problems.error(place, f"the certificate is signed with {weakness}", anew)
        for other in chain[1:]:
            replace = "replace it with the CA's current one"
            if (cause := self._outdated(other)) is not None:
                self._problems.outdated(place, f"the intermediate {name_of(other)} {cause}", replace)
            elif self._ends_soon(other):
                cause = f"the intermediate {name_of(other)} expires {_date(other.not_valid_after_utc)}"
                self._problems.warning(place, cause, replace)
        for issued, issuer in pairwise(chain):
            if issuer_of(issued) != subject_of(issuer):
                cause = f"{name_of(issuer)} did not issue {name_of(issued)}, the certificate before it"
                self._problems.error(
                    place, cause, "put the leaf first, and after each certificate the CA that issued it"
                )

    def _key(
        self, value: Value, password: str | None, *, may_be_encrypted: bool, is_password_faulty: bool
    ) -> KeyFile | None:
        path = self.path(value)
        if not self.reads_keys:
            return KeyFile(path, None)
        try:
            found = self._reader.key(path, password, may_be_encrypted=may_be_encrypted)
        except NoPasswordError as error:
            if not is_password_faulty:
                self._problems.error(value.place, error.cause, error.remedy)
            return None
        except ConfigError as error:
            self._problems.error(value.place, error.cause, _name_remedy(value, error))
            return None
        if is_readable_by_all(path):
            self._problems.warning(
                value.place, f"every user of this machine can read {path}", f"run: chmod o= {for_shell(str(path))}"
            )
        return found

    def _ends_soon(self, certificate: x509.Certificate) -> bool:
        return certificate.not_valid_after_utc - self.now < timedelta(days=EXPIRY_WARNING_DAYS)

    def _outdated(self, certificate: x509.Certificate) -> str | None:
        if certificate.not_valid_after_utc < self.now:
            return f"expired {_date(certificate.not_valid_after_utc)}"
        if certificate.not_valid_before_utc > self.now:
            return f"is not valid before {_date(certificate.not_valid_before_utc)}"
        return None


def _name_remedy(value: Value, error: ConfigError) -> str:
    """The remedy; for a missing file whose name is several names, or has `~` or `*` in it, what to write instead."""
    text = str(value.data)
    if not error.cause.endswith("does not exist"):
        return error.remedy
    if text.startswith("file://"):
        return f"write {as_yaml(text.removeprefix('file://'))}"
    if "-----BEGIN" in text:
        return "save this text as a file, and write the file's name here"
    if text.startswith("~/"):
        return f"write the whole path instead of '~', such as /home/NAME/{text.removeprefix('~/')}"
    if (names := expanded(text)) is not None:
        return f"write, instead of the braces, {', '.join(map(as_yaml, names))}"
    names = text.split()
    if len(names) > 1 and all("." in name for name in names) and (key := _LIST_OF_FILES.search(value.place.path)):
        return f"write {key[1]}: {as_yaml_list(names)}"
    return "list each file instead of '*'" if "*" in text else error.remedy


def name_of(certificate: x509.Certificate) -> str:
    """The subject of a certificate, quoted for a message."""
    return quote(subject_of(certificate).rfc4514_string() or "(no subject)")


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
