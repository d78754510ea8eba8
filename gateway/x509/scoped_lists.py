"""The revocation lists of one CA key and one scope, and which of them is used at a given time.

Keeps true:
- Lists of different scopes never replace one another. Of several complete lists of one scope, the newest that is
  already valid is used: by CRL number, then thisUpdate.
- A delta list is used with that complete list if its base number is not above the complete list's number, and its own
  number is. Of several, the newest is used. It renews the complete list: both are valid until the later one expires.
- A delta list that needs a newer complete list covers and releases no certificate, but those that it names are refused.
- A delta list that has expired releases no certificate any more; those that it names stay refused.

Sources: RFC 5280 sections 5.2.3, 5.2.4, 5.2.5 and 6.3.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gateway.x509.revocation_list import RevocationList
from gateway.x509.scopes import Scope


@dataclass(frozen=True, slots=True)
class Standing:
    """What the lists of one scope say at one time."""

    complete: RevocationList | None  # None if none is valid yet
    delta: RevocationList | None  # the delta list used with it
    waiting: tuple[RevocationList, ...]  # deltas that need a newer complete list, newest first
    now: datetime
    changes: tuple[datetime, ...]  # future times at which this may change

    @property
    def lists(self) -> tuple[RevocationList, ...]:
        """The lists that cover certificates now."""
        return tuple(entry for entry in (self.complete, self.delta) if entry is not None)

    @property
    def end(self) -> datetime | None:
        """When the last of these lists expires; None if there is none."""
        return max((entry.next_update for entry in self.lists), default=None)

    def naming(self, serial: int) -> RevocationList | None:
        """The list because of which the certificate is refused; None if no list names it."""
        for entry in self.waiting:
            if serial in entry.serials:
                return entry
        if self.delta is not None:
            if serial in self.delta.serials:
                return self.delta
            if serial in self.delta.removed and self.now <= self.delta.next_update:
                return None
        return self.complete if self.complete is not None and serial in self.complete.serials else None

    def warnings(self) -> list[str]:
        """Warnings about these lists, a line each."""
        found = []
        if self.waiting:
            newest = self.waiting[0]
            cause = f"{newest.source}: the delta list changes a complete list with number {newest.base_number} or above"
            found.append(f"{cause}, which is missing; name that complete list in crl as well")
        # A delta list renews the complete one, which then needs no successor before the delta list does.
        is_renewed = self.complete and self.delta and self.delta.next_update > self.complete.next_update
        due = (None if is_renewed else self.complete, self.delta)
        return found + [line for entry in due if entry is not None and (line := entry.warning(self.now))]


@dataclass(frozen=True, slots=True)
class ScopedLists:
    """Lists that one key signed for one scope, the newest first."""

    scope: Scope
    complete: tuple[RevocationList, ...]
    deltas: tuple[RevocationList, ...]

    @property
    def newest(self) -> RevocationList:
        """The list with the highest number, even if it isn't valid yet; a delta list only if there is no other."""
        return (*self.complete, *self.deltas)[0]

    def at(self, now: datetime) -> Standing:
        """The lists used at `now`, expired or not."""
        complete = next((entry for entry in self.complete if entry.this_update <= now), None)
        if complete is not None and not self.deltas and len(self.complete) == 1:  # nearly always
            return Standing(complete, None, (), now, (complete.next_update,) if complete.next_update >= now else ())
        number = -1 if complete is None else complete.number
        newer = [entry for entry in self.deltas if entry.this_update <= now and entry.number > number]
        index = next((index for index, entry in enumerate(newer) if _changes(entry, number)), len(newer))
        delta = newer[index] if index < len(newer) else None
        begins = [entry.this_update for entry in (*self.complete, *self.deltas) if entry.this_update > now]
        ends = [entry.next_update for entry in (complete, delta) if entry is not None and entry.next_update >= now]
        return Standing(complete, delta, tuple(newer[:index]), now, (*begins, *ends))

    def warnings(self, now: datetime) -> list[str]:
        """Warnings about these lists, a line each."""
        standing = self.at(now)
        if standing.lists or standing.waiting:
            return standing.warnings()
        newest = self.newest
        begin = f"{newest.this_update:%Y-%m-%d %H:%M} UTC"
        return [f"{newest.source}: the {newest.kind} is not valid before {begin}"]


def _changes(delta: RevocationList, number: int) -> bool:
    """True if `delta` has all changes since the complete list with this number (-1: there is no complete list)."""
    return delta.base_number is not None and delta.base_number <= number and number >= 0


def by_scope(lists: Iterable[RevocationList]) -> tuple[ScopedLists, ...]:
    """Group lists, all signed by one key, by their scope."""
    groups: dict[Scope, list[RevocationList]] = {}
    for entry in sorted(lists, key=lambda entry: (entry.number, entry.this_update), reverse=True):
        groups.setdefault(entry.scope, []).append(entry)
    return tuple(
        ScopedLists(
            scope,
            tuple(entry for entry in entries if entry.base_number is None),
            tuple(entry for entry in entries if entry.base_number is not None),
        )
        for scope, entries in groups.items()
    )
