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
        self._holders: dict[str, str | None] = {}  # by login; None if there are several
        self._logins: dict[str, str | None] = {}

    def add(self, login: str | None, holder: str | None) -> None:
        """A request had both, or one of them."""
        if login is not None and holder is not None:
            self._note(self._holders, login, holder)
            self._note(self._logins, holder, login)

    def merge(self, other: Links) -> None:
        """Add what another process has seen."""
        for mine, others in ((self._holders, other._holders), (self._logins, other._logins)):
            for name, partner in others.items():
                self._note(mine, name, partner)

    def _note(self, table: dict[str, str | None], name: str, partner: str | None) -> None:
        if name in table:
            if table[name] != partner:
                table[name] = None
        elif len(table) < self._capacity:
            table[name] = partner

    def people(self, names: Iterable[str]) -> dict[str, str]:
        """For each name, the person's name: the mail address if one of the names is an address."""
        names = set(names)
        addresses = defaultdict(set)
        for name in names.union(self._logins):
            if "@" in name:
                addresses[name.partition("@")[0]].add(name)
        return {name: self._person(name, addresses) for name in names}

    def _person(self, name: str, addresses: dict[str, set[str]]) -> str:
        login = name if name in self._holders else self._logins.get(name)
        holder = None if login is None else self._holders.get(login)
        if login is not None and holder is not None and name in {login, holder} and self._logins.get(holder) == login:
            return login if "@" in login or "@" not in holder else holder
        if "@" in name:
            return name
        found = addresses.get(name.rpartition("\\")[2], set())
        return next(iter(found)) if len(found) == 1 else name
