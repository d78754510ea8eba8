"""The revocation lists that count. Only the master reads them, independently of the configuration, in generations.

Keeps true:
- A list is replaced only by one that is complete, readable and signed by the CA that it names. For any other content of
  a file, the last good list stays, and the log and the status say so.
- A list that begins in the future is kept beside the valid one until it begins.
- A list that a CA of its sites signed counts at the first look. Any other change counts when the file has stayed the
  same from one look to the next, so that half of a list is not reported as a damaged one; at the latest after
  `MAX_LOOKS` looks.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.config.model import Config
from gateway.errors import ConfigError, in_one_line
from gateway.fetching.list_store import ListStore, signer_or_claim
from gateway.proxy.snapshot import Snapshot
from gateway.redaction import without_secrets
from gateway.stamps import Stamp, stamp_of
from gateway.tls.trust import KnownLists, anchors_in, check_signers, is_url, not_fetched
from gateway.x509.fields import subject_of
from gateway.x509.loading import read_file
from gateway.x509.name_matching import folded
from gateway.x509.revocation_list import RevocationList, parse_lists

# After so many looks a file is read as it is, so that changing it again and again can't delay a revocation.
MAX_LOOKS: Final = 5

# One for each path where a source's list may be.
Stamps = tuple[Stamp, ...]
# The trust anchors of each site that names the source.
SiteAnchors = Sequence[Sequence[x509.Certificate]]

_log = logging.getLogger("gateway.master")


@dataclass(frozen=True, slots=True)
class ListPart:
    """The bytes of one file or download, and the lists in them."""

    data: bytes
    lists: tuple[RevocationList, ...]

    def has_begun(self, now: datetime) -> bool:
        """True if the validity of every list in it has begun."""
        return all(entry.this_update <= now for entry in self.lists)


@dataclass(frozen=True, slots=True)
class ListEntry:
    """The lists of one source that count."""

    parts: tuple[ListPart, ...] = ()  # the valid one, then the one that begins later
    problem: str | None = None  # why it has no list or its newest content doesn't count, and the remedy if there is one
    stamps: Stamps = ()  # taken before the newest content was read
    generation: int = 0  # in which `parts` changed last

    @property
    def lists(self) -> tuple[RevocationList, ...]:
        """The lists of all parts."""
        return tuple(entry for part in self.parts for entry in part.lists)


@dataclass(frozen=True, slots=True)
class ListSet:
    """The lists of a configuration as of one generation."""

    generation: int = 0
    entries: Mapping[str, ListEntry] = field(default_factory=dict)  # by source: a file's path, or a URL

    def known(self) -> dict[str, KnownLists]:
        """Source → its lists, as sites use them."""
        return {source: KnownLists(entry.lists, entry.problem) for source, entry in self.entries.items()}

    def followed_by(self, entries: Mapping[str, ListEntry]) -> ListSet:
        """A set of these entries: of the next generation if lists differ, of the same if only problems differ."""
        changed = {source for source, entry in entries.items() if self._has_changed(source, entry)}
        generation = self.generation + bool(changed)
        made = {
            source: replace(entry, generation=generation) if source in changed else entry
            for source, entry in entries.items()
        }
        return ListSet(generation, made)

    def _has_changed(self, source: str, entry: ListEntry) -> bool:
        return source not in self.entries or self.entries[source].parts is not entry.parts


def read_lists(config: Config, store: ListStore, before: ListSet) -> ListSet:
    """The lists of a configuration: lists of `before` that fit it, and the others from their files.

    Raises `ConfigError` for a file that can't be used. For a URL without a usable list, the entry has the problem.
    """
    entries: dict[str, ListEntry] = {}
    for source, sites in _anchors(config).items():
        old = before.entries.get(source)
        if old is not None and _fits(old, sites):
            entries[source] = old
            continue
        stamps = _stamps(source, store)
        try:
            entries[source] = ListEntry((_read(source, store, sites),), stamps=stamps)
        except ConfigError as error:
            if not is_url(source):
                raise
            entries[source] = ListEntry(problem=in_one_line(error), stamps=stamps)
    return before.followed_by(entries)


def _fits(entry: ListEntry, sites: SiteAnchors) -> bool:
    """True if the entry has lists, and each was signed by the anchor that it names."""
    try:
        for anchors in sites:
            check_signers(entry.lists, anchors)
    except ConfigError:
        return False
    return bool(entry.parts)


def _anchors(config: Config) -> dict[str, SiteAnchors]:
    found: dict[str, list[Sequence[x509.Certificate]]] = {}
    for site in config.sites:
        anchors = anchors_in(site.client_ca) if site.crl else ()
        for source in site.crl:
            found.setdefault(source, []).append(anchors)
    return {source: tuple(sites) for source, sites in found.items()}


def _stamps(source: str, store: ListStore) -> Stamps:
    return tuple(map(stamp_of, store.files(source) if is_url(source) else (Path(source),)))


def _read(source: str, store: ListStore, sites: SiteAnchors, known: ListPart | None = None) -> ListPart:
    """The content of a source; `known` itself if it is still the same. Raises `ConfigError`."""
    if not is_url(source):
        data = read_file(Path(source))
    elif (stored := store.read(source)) is not None:
        data = stored
    else:
        raise not_fetched(source)
    if known is not None and known.data == data:
        return known
    part = ListPart(data, parse_lists(data, without_secrets(source)))
    for anchors in sites:
        check_signers(part.lists, anchors)
    return part


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of a file that does not count yet."""

    stamps: Stamps = ()
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """The result of one look."""

    changed: tuple[str, ...] = ()  # sources with other lists
    refused: tuple[str, ...] = ()  # sources whose content can't be used
    is_news: bool = False  # True: one of these is not empty, or a problem is over


class CurrentLists:
    """The lists that count now; watches their files."""

    def __init__(self, store: ListStore) -> None:
        self.current = ListSet()
        self._store = store
        self._sites: dict[str, SiteAnchors] = {}
        self._changes: dict[str, _Change] = {}

    def follow(self, lists: ListSet, snapshot: Snapshot) -> None:
        """Use another configuration, with these lists."""
        # A list that was refused under the old anchors may be right under the new ones, so it is read again.
        self.current = replace(
            lists,
            entries={
                source: entry if entry.problem is None else replace(entry, stamps=())
                for source, entry in lists.entries.items()
            },
        )
        self._changes.clear()
        self._sites.clear()
        for state in snapshot.states:
            for source in state.site.crl:
                self._sites[source] = (*self._sites.get(source, ()), state.tls.trust.anchors)

    def look(self, now: datetime) -> Look:
        """Take up changes on disk, and lists that have begun."""
        before = self.current.entries
        after = {source: self._look_at(source, entry, now) for source, entry in before.items()}
        self.current = self.current.followed_by(after)
        changed = tuple(source for source, entry in after.items() if entry.parts is not before[source].parts)
        problems = {source: entry.problem for source, entry in after.items() if entry.problem != before[source].problem}
        refused = tuple(source for source, problem in problems.items() if problem is not None)
        for source in changed:
            _log.info(
                "the revocation list %s has changed (generation %d)", without_secrets(source), self.current.generation
            )
        for source in refused:
            what_counts = "the last good list stays" if after[source].parts else "there is no list"
            _log.error("%s; %s", problems[source], what_counts)
        return Look(changed, refused, bool(changed or problems))

    def _look_at(self, source: str, entry: ListEntry, now: datetime) -> ListEntry:
        entry = _without_ended(entry, now)
        stamps = _stamps(source, self._store)
        if stamps == entry.stamps:
            self._changes.pop(source, None)
            return entry
        change = self._changes.get(source, _Change())
        is_due = stamps == change.stamps or change.looks + 1 >= MAX_LOOKS
        self._changes[source] = _Change(stamps, change.looks + 1)
        newest = entry.parts[-1] if entry.parts else None
        sites = self._sites[source]
        try:
            part = _read(source, self._store, sites, newest)
        except ConfigError as error:
            if not is_due:
                return entry
            # A file that can't be read now (no free descriptor, a folder that is not mounted) is tried at each look.
            is_final = not isinstance(error.__cause__, OSError)
            return replace(entry, problem=in_one_line(error), stamps=stamps if is_final else entry.stamps)
        except BaseException as error:  # noqa: BLE001 - also a panic in a Rust parser: other lists must be taken up
            shown = without_secrets(source)
            _log.exception("the revocation list %s can't be read", shown)
            problem = f"{shown}: {type(error).__name__}: {error}; put a readable list there"
            return replace(entry, problem=problem, stamps=stamps)
        # The file of a fetched list is replaced in one step, so it is complete.
        if not (is_due or is_url(source) or _counts_at_once(part, newest, sites)):
            return entry
        if part is not newest:
            entry = replace(entry, parts=_followed(entry.parts, part, now))
        # A list that counts at the first look is read again at the next, in case the file was not complete yet.
        return replace(entry, problem=None, stamps=stamps if is_due else entry.stamps)


def _counts_at_once(part: ListPart, before: ListPart | None, sites: SiteAnchors) -> bool:
    """True if an anchor signed each list and no list is missing that was there before, as in half of a bundle."""
    anchors = [anchor for each in sites for anchor in each]
    names = {folded(subject_of(anchor)) for anchor in anchors}
    # The signature of a list that names an anchor is checked already.
    is_signed = all(folded(entry.issuer) in names for entry in part.lists)
    return is_signed and (before is None or _covered(part, anchors) >= _covered(before, anchors))


def _covered(part: ListPart, anchors: Sequence[x509.Certificate]) -> Counter[Hashable]:
    """The number of lists for each key, scope and kind. CAs with the same name have a list each."""
    return Counter((signer_or_claim(entry, anchors), entry.scope, entry.kind) for entry in part.lists)


def _followed(parts: tuple[ListPart, ...], part: ListPart, now: datetime) -> tuple[ListPart, ...]:
    """`part`, and before it the part that is valid until `part` begins."""
    return (part,) if part.has_begun(now) else (*parts[:1], part)


def _without_ended(entry: ListEntry, now: datetime) -> ListEntry:
    """The entry without a part that has been replaced because the newest one has begun."""
    if len(entry.parts) > 1 and entry.parts[-1].has_begun(now):
        return replace(entry, parts=entry.parts[-1:])
    return entry
