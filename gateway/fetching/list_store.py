"""Fetched revocation lists on disk: the last good one of each URL, and which newer one may replace it.

Keeps true: a stored list was signed by a CA of its site, or came over https; a list is never replaced by an older one
of the same CA, nor by one that covers less, so that an attacker on the network can't bring back a list from before a
revocation; a file is complete or does not exist. A problem of the folder never stops the gateway.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.atomic_write import replace_file
from gateway.config.list_folder import list_folder
from gateway.config.model import Config
from gateway.errors import ConfigError, OperationError
from gateway.redaction import without_secrets
from gateway.regular_files import read_regular
from gateway.tls.trust import KnownLists, check_signer, is_url
from gateway.x509.fields import subject_of
from gateway.x509.keys import spki
from gateway.x509.loading import MAX_FILE_BYTES
from gateway.x509.name_matching import folded
from gateway.x509.revocation_list import RevocationList, parse_lists

# In one answer, as PEM. Each list takes a millisecond to check, and 16 MiB have room for 60,000.
MAX_LISTS: Final = 500
_PEM: Final = b"-----BEGIN X509 CRL-----"
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class NotBegunError(ConfigError):
    """The list is right, but its validity begins in the future."""

    def __init__(self, shown: str, begins: datetime) -> None:
        super().__init__(f"{shown}: the list begins in the future, {begins:%Y-%m-%d %H:%M:%S} UTC")
        self.begins = begins


@dataclass(frozen=True, slots=True)
class ListStore:
    """The folder of fetched lists. Files are replaced in one step, so any process may read while one writes."""

    folder: Path
    fallback: Path  # used if `folder` can't be written; removed when the gateway stops

    @classmethod
    def beside(cls, config: Path) -> ListStore:
        """`state/crl` beside the configuration file, or `crl` in systemd's StateDirectory. Makes no folder yet."""
        try:
            temporary = tempfile.gettempdir()
        except OSError:
            temporary = "/dev/shm"  # noqa: S108 - the folder's name is random, and it must not exist before
        return cls(list_folder(config.absolute().parent), Path(temporary) / f"gateway-{secrets.token_hex(16)}")

    def files(self, url: str) -> tuple[Path, Path]:
        """The paths where the list of `url` may be; the first that exists counts."""
        return self.fallback / _file_name(url), self.folder / _file_name(url)

    def has(self, url: str) -> bool:
        """True if a list of `url` is stored."""
        for path in self.files(url):
            with contextlib.suppress(OSError):
                path.stat()
                return True
        return False

    def read(self, url: str) -> bytes | None:
        """The last good list of `url`; None if no list is stored."""
        for path in self.files(url):
            with contextlib.suppress(OSError):
                return read_regular(path, MAX_FILE_BYTES)
        return None

    def write(self, url: str, data: bytes) -> str | None:
        """Store `data`. Returns why it will be lost when the gateway stops, None if not. Raises `OperationError`."""
        passing, lasting = self.files(url)
        try:
            _replace(lasting, data)
        except OSError as error:
            try:
                _replace(passing, data)
            except OSError as second:
                raise OperationError(
                    f"{passing}: {second.strerror}", f"let the gateway write to {self.folder}"
                ) from second
            return f"{lasting.parent}: {error.strerror}"
        with contextlib.suppress(OSError):
            passing.unlink()
        return None

    def discard_fallback(self) -> None:
        """Remove the fallback folder, when the gateway stops."""
        shutil.rmtree(self.fallback, ignore_errors=True)


def _file_name(url: str) -> str:
    return f"{hashlib.sha256(url.encode()).hexdigest()}.crl"


def _replace(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, in a folder that may have to be made first. Raises `OSError`."""
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    replace_file(path, data, _FILE_MODE)


def stored_lists(config: Config, store: ListStore) -> dict[str, KnownLists]:
    """URL → its stored lists or their problem, for all URLs of the configuration that have a stored file."""
    urls = dict.fromkeys(source for site in config.sites for source in site.crl if is_url(source))
    return {url: _stored(url, data) for url in urls if (data := store.read(url)) is not None}


def _stored(url: str, data: bytes) -> KnownLists:
    try:
        return KnownLists(parse_lists(data, without_secrets(url)))
    except ConfigError as error:
        return KnownLists(problem=error.cause)


def check_successor(
    url: str, data: bytes, stored: bytes | None, anchors: Sequence[x509.Certificate], now: datetime
) -> tuple[RevocationList, ...]:
    """The lists in `data`, if they may replace `stored`. Raises `ConfigError` if not."""
    shown = without_secrets(url)
    if data.count(_PEM) > MAX_LISTS:
        raise ConfigError(
            f"{shown}: there are more than {MAX_LISTS} lists",
            "publish each CA's list at a separate URL, and write the URLs into crl",
        )
    found = parse_lists(data, shown)
    by_signer: dict[Hashable, list[RevocationList]] = {}
    for entry in found:
        check_signer(entry, anchors)
        if entry.this_update > now:
            raise NotBegunError(shown, entry.this_update)
        signer = _signer(entry, anchors)
        if signer is None and not url.startswith("https:"):
            raise ConfigError(
                f"{shown}: the list of {_issuer(entry)} can't be checked, because that CA is not in client_ca",
                "add the CA to client_ca, or fetch the list over https",
            )
        by_signer.setdefault(signer or entry.claimed_signer, []).append(entry)
    for entry in readable_lists(stored, shown):
        signer = _signer(entry, anchors)
        _check_heirs(url, entry, by_signer.get(signer or entry.claimed_signer, []), is_known=signer is not None)
    return found


def _check_heirs(url: str, old: RevocationList, lists: Sequence[RevocationList], *, is_known: bool) -> None:
    """Check that one of the signer's new `lists` covers what `old` covers and is not older. Raises `ConfigError`.

    The signature is not enough: a CA may sign lists for several scopes, and an attacker could send the wrong one.
    """
    shown = without_secrets(url)
    if not lists:
        if is_known:
            raise ConfigError(f"{shown}: the answer no longer contains a list of {_issuer(old)}")
        return
    delete = f"delete {_file_name(url)} from the folder of fetched lists (state/crl)"
    heirs = [entry for entry in lists if _may_follow(entry, old)]
    if not heirs and (old.base_number is not None or any(entry.scope.includes(old.scope) for entry in lists)):
        raise ConfigError(
            f"{shown}: the answer no longer contains a {old.kind} of {_issuer(old)} that covers {old.scope}"
        )
    if not heirs:
        raise ConfigError(
            f"{shown}: the list of {_issuer(old)} covers {lists[0].scope}; the previous one covered {old.scope}",
            f"if the CA intends this, {delete}",
        )
    if not any(_is_as_new(entry, old) for entry in heirs):
        raise ConfigError(
            f"{shown}: the list of {_issuer(old)} is older than the one that was fetched before",
            f"if the CA has started over with lower numbers, {delete}",
        )


def _may_follow(entry: RevocationList, old: RevocationList) -> bool:
    """A delta list follows a delta list of its scope; a complete one follows both kinds, and smaller scopes."""
    if entry.base_number is None:
        return entry.scope.includes(old.scope)
    return old.base_number is not None and entry.scope == old.scope


def _is_as_new(entry: RevocationList, old: RevocationList) -> bool:
    """True if `entry` is not older. Some CAs number each scope separately, so numbers only count within a scope."""
    if entry.scope == old.scope:
        return (entry.number, entry.this_update) >= (old.number, old.this_update)
    return entry.this_update >= old.this_update


def readable_lists(stored: bytes | None, shown: str) -> tuple[RevocationList, ...]:
    """The stored lists; empty if the file is missing or damaged."""
    if stored is None:
        return ()
    try:
        return parse_lists(stored, shown)
    except ConfigError:
        return ()  # a damaged file has no lists that must be kept


def _issuer(entry: RevocationList) -> str:
    return repr(entry.issuer.rfc4514_string())


def signer_or_claim(entry: RevocationList, anchors: Sequence[x509.Certificate]) -> Hashable:
    """Equal for lists of one CA: its key if it is one of the anchors, else the signer that the list claims."""
    return _signer(entry, anchors) or entry.claimed_signer


def _signer(entry: RevocationList, anchors: Sequence[x509.Certificate]) -> bytes | None:
    """The key of the anchor that signed the list; None if no anchor did."""
    for anchor in anchors:
        if folded(subject_of(anchor)) == folded(entry.issuer) and entry.is_signed_by(anchor):
            return spki(anchor.public_key())
    return None
