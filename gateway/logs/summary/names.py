"""Which names are one person: a mail login, and the holder of the certificate that was shown with it.

Keeps true: two names are joined only if requests that were let in had both, and none had one of them with another name;
or if a login has no domain, and exactly one known address begins with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


class Links:
    """Logins and holders that were let in together."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._holders: dict[str, set[str]] = {}  # by login; two are as good as many
        self._logins: dict[str, set[str]] = {}

    def add(self, login: str | None, holder: str | None) -> None:
        """A request had both, or one of them."""
        if login is not None and holder is not None:
            self._note(self._holders, login, holder)
            self._note(self._logins, holder, login)

    def merge(self, other: Links) -> None:
        """Add what another process has seen."""
        for login, holders in other._holders.items():
            for holder in holders:
                self._note(self._holders, login, holder)
        for holder, logins in other._logins.items():
            for login in logins:
                self._note(self._logins, holder, login)

    def _note(self, table: dict[str, set[str]], name: str, other: str) -> None:
        held = table.get(name)
        if held is not None:
            if len(held) < 2:
                held.add(other)
        elif len(table) < self._capacity:
            table[name] = {other}

    def people(self, names: Iterable[str]) -> dict[str, str]:
        """For each name, the person's name: the mail address if one of the names is an address."""
        names = set(names)
        addresses = defaultdict(set)
        for name in names.union(self._logins):
            if "@" in name:
                addresses[name.partition("@")[0]].add(name)
        return {name: self._person(name, addresses) for name in names}

    def _person(self, name: str, addresses: dict[str, set[str]]) -> str:
        for login in (name, *self._logins.get(name, ())):
            holder = self._only_holder(login)
            if holder is not None and name in {login, holder}:
                return login if "@" in login or "@" not in holder else holder
        if "@" in name:
            return name
        found = addresses.get(name.rpartition("\\")[2], set())
        return next(iter(found)) if len(found) == 1 else name

    def _only_holder(self, login: str) -> str | None:
        """The only holder that it was used with, if that was used with no other login."""
        holders = self._holders.get(login, set())
        if len(holders) != 1:
            return None
        (holder,) = holders
        return holder if self._logins.get(holder) == {login} else None
