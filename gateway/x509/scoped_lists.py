"""The revocation lists of one CA's key and one scope, and which of them counts when.

What this module keeps true: lists of different scopes never replace one another. Of several lists of one scope the
newest that has begun counts: CRL number, then thisUpdate. Sources: RFC 5280 sections 5.2.3, 5.2.5 and 6.3.3.
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

    lists: tuple[RevocationList, ...]  # that count
    end: datetime | None  # after which they are outdated; None where no complete list has begun
    changes: tuple[datetime, ...]  # the times to come at which something else may count

    def revokes(self, serial: int) -> bool:
        """True when one of the lists that count names it."""
        return any(serial in entry.serials for entry in self.lists)


@dataclass(frozen=True, slots=True)
class ScopedLists:
    """Lists that one key signed for one scope."""

    scope: Scope
    complete: tuple[RevocationList, ...]  # newest first

    @property
    def newest(self) -> RevocationList:
        """The list with the highest number, even if it has not begun."""
        return self.complete[0]

    def at(self, now: datetime) -> Standing:
        """What counts at `now`, outdated or not."""
        begun = next((entry for entry in self.complete if entry.this_update <= now), None)
        boundaries = [entry.this_update for entry in self.complete if entry.this_update > now]
        if begun is None:
            return Standing((), None, tuple(boundaries))
        if now <= begun.next_update:
            boundaries.append(begun.next_update)
        return Standing((begun,), begun.next_update, tuple(boundaries))

    def warnings(self, now: datetime) -> list[str]:
        """What should be done about these lists, a line each."""
        counting = self.at(now).lists
        if not counting:
            begin = f"{self.newest.this_update:%Y-%m-%d %H:%M} UTC"
            return [f"{self.newest.source}: the revocation list begins {begin} and counts only from then on"]
        return [line for entry in counting if (line := entry.warning(now))]


def by_scope(lists: Iterable[RevocationList]) -> tuple[ScopedLists, ...]:
    """These lists, all signed by one key, side by side by their scope."""
    groups: dict[Scope, list[RevocationList]] = {}
    for entry in sorted(lists, key=lambda entry: (entry.number, entry.this_update), reverse=True):
        groups.setdefault(entry.scope, []).append(entry)
    return tuple(ScopedLists(scope, tuple(entries)) for scope, entries in groups.items())
