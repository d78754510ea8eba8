"""The revocation lists that count: read by the master alone, apart from the configuration, and counted in generations.

Keeps true:
- A list gives way only to one that is whole, readable and signed by the CA that it names. Whatever else a file holds,
  the last good list stays, and the log and the status say so.
- A list that begins later stands beside the valid one until it begins.
- A list that a CA of its sites signed counts at the first look. Any other change counts once the file has stayed the
  same from one look to the next, so that half of a list is not taken for a broken one; after `MAX_LOOKS` at the latest.
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
from gateway.errors import ConfigError
from gateway.proxy.snapshot import Snapshot
from gateway.redaction import without_secrets
from gateway.stamps import Stamp, stamp_of
from gateway.supervisor.lists import ListStore, signer_or_claim
from gateway.tls.trust import KnownLists, anchors_in, check_signers, is_url
from gateway.x509.fields import subject_of
from gateway.x509.loading import read_file
from gateway.x509.name_matching import folded
from gateway.x509.revocation_list import RevocationList, parse_lists

# A file that changes between all looks is taken as it is at this one: nobody can put off a revocation by touching it.
MAX_LOOKS: Final = 5

# Of all the places where a source's list may be.
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
        """True when every list in it has."""
        return all(entry.this_update <= now for entry in self.lists)


@dataclass(frozen=True, slots=True)
class ListEntry:
    """What counts of one source."""

    parts: tuple[ListPart, ...] = ()  # the valid one, then the one that begins later
    problem: str | None = None  # why there is none, or why its newest content doesn't count
    stamps: Stamps = ()  # from before the newest content was read
    generation: int = 0  # when `parts` changed last

    @property
    def lists(self) -> tuple[RevocationList, ...]:
        """All of them."""
        return tuple(entry for part in self.parts for entry in part.lists)


@dataclass(frozen=True, slots=True)
class ListSet:
    """The lists of a configuration as of one generation."""

    generation: int = 0
    entries: Mapping[str, ListEntry] = field(default_factory=dict)  # by source: a file's path, or a URL

    def known(self) -> dict[str, KnownLists]:
        """As sites are given them."""
        return {source: KnownLists(entry.lists, entry.problem) for source, entry in self.entries.items()}

    def followed_by(self, entries: Mapping[str, ListEntry]) -> ListSet:
        """Of the next generation where lists differ, of the same where only problems do."""
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
    """The lists of a configuration: those of `before` that fit it, and the others from their files.

    Raises `ConfigError` for a file that can't be used. A URL that gives no list is a problem of its entry.
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
            entries[source] = ListEntry(problem=error.cause, stamps=stamps)
    return before.followed_by(entries)


def _fits(entry: ListEntry, sites: SiteAnchors) -> bool:
    """True where there are lists, and each was signed by the anchor that it names."""
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
    """What a source holds now; `known` itself where it still holds the same. Raises `ConfigError`."""
    if not is_url(source):
        data = read_file(Path(source))
    elif (stored := store.read(source)) is not None:
        data = stored
    else:
        raise ConfigError(f"{without_secrets(source)}: the revocation list has not been fetched yet")
    if known is not None and known.data == data:
        return known
    part = ListPart(data, parse_lists(data, without_secrets(source)))
    for anchors in sites:
        check_signers(part.lists, anchors)
    return part


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that has not been taken up yet."""

    stamps: Stamps = ()
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look has brought."""

    changed: tuple[str, ...] = ()  # sources with other lists
    refused: tuple[str, ...] = ()  # sources whose content can't be used
    is_news: bool = False  # any of these, or a problem is over


class ListState:
    """The lists that count now, and what happens to their files."""

    def __init__(self, store: ListStore) -> None:
        self.current = ListSet()
        self._store = store
        self._sites: dict[str, SiteAnchors] = {}
        self._changes: dict[str, _Change] = {}

    def follow(self, lists: ListSet, snapshot: Snapshot) -> None:
        """Another configuration serves, with these lists."""
        # What was refused under the anchors of before may be right under the new ones: it is looked at again.
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
        """Take up what has changed on disk, and what has begun."""
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
            # What can't be read now (no free descriptor, a folder that is not mounted) is tried at each look.
            is_final = not isinstance(error.__cause__, OSError)
            return replace(entry, problem=error.cause, stamps=stamps if is_final else entry.stamps)
        except BaseException as error:  # noqa: BLE001 - a panic in a Rust parser too: the other lists are taken up
            shown = without_secrets(source)
            _log.exception("the revocation list %s can't be read", shown)
            return replace(entry, problem=f"{shown}: {type(error).__name__}: {error}", stamps=stamps)
        # The file of a fetched list is put in place whole.
        if not (is_due or is_url(source) or _counts_at_once(part, newest, sites)):
            return entry
        if part is not newest:
            entry = replace(entry, parts=_followed(entry.parts, part, now))
        # What counts at the first look is read again at the next, in case it was not whole yet.
        return replace(entry, problem=None, stamps=stamps if is_due else entry.stamps)


def _counts_at_once(part: ListPart, before: ListPart | None, sites: SiteAnchors) -> bool:
    """True where an anchor signed each list, and no list that was there is missing: then it is no half of a bundle."""
    anchors = [anchor for each in sites for anchor in each]
    names = {folded(subject_of(anchor)) for anchor in anchors}
    # The signature of a list that names an anchor is checked already.
    is_signed = all(folded(entry.issuer) in names for entry in part.lists)
    return is_signed and (before is None or _covered(part, anchors) >= _covered(before, anchors))


def _covered(part: ListPart, anchors: Sequence[x509.Certificate]) -> Counter[Hashable]:
    """How many lists of each key, scope and kind: CAs of one name have one each, and so may delta lists."""
    return Counter((signer_or_claim(entry, anchors), entry.scope, entry.kind) for entry in part.lists)


def _followed(parts: tuple[ListPart, ...], part: ListPart, now: datetime) -> tuple[ListPart, ...]:
    """`part`, and before it the one that is valid until it begins."""
    return (part,) if part.has_begun(now) else (*parts[:1], part)


def _without_ended(entry: ListEntry, now: datetime) -> ListEntry:
    """Without the part that was valid until the newest one began."""
    if len(entry.parts) > 1 and entry.parts[-1].has_begun(now):
        return replace(entry, parts=entry.parts[-1:])
    return entry
