"""Entries on their way into the tables of a summary: counted together, by what they have in common.

Keeps true: what is kept is bounded, in number and in characters, whatever the entries hold.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from operator import call
from typing import Any, Final, NamedTuple

from gateway.logs.entry import Entry
from gateway.logs.render import is_harmless_reason
from gateway.logs.summary.batches import Brief
from gateway.logs.summary.counters import Durations
from gateway.logs.summary.groups import SWITCHING, Group, address_of, characters, group_of, key_of, path_of
from gateway.logs.summary.tables import Ranked

MAX_GROUPS: Final = 4096  # that are counted before they are looked at
MAX_GROUP_CHARACTERS: Final = 512 * 1024  # in their values, since a value may have a thousand
MAX_DURATIONS: Final = 32_768  # that are kept before they are added up
MAX_URIS: Final = 4096  # whose paths are remembered
MAX_URI_CHARACTERS: Final = 256 * 1024  # in them
_FEW: Final = 16  # new keys of a batch, that are looked for one by one

Command = Callable[[str], str | None]


_Key = tuple[object, ...]


class ObservedKey(NamedTuple):
    """What was observed, of entries with this key."""

    key: _Key
    client: str | None  # if the request names no person
    reason: str
    rule: str


class Groups:
    """Entries by key, until there are many keys."""

    def __init__(
        self,
        add_group: Callable[[Group | None, int, datetime, datetime], None],
        add_observed: Callable[[Group, ObservedKey, int, datetime], None],
        *,
        shows_all: bool,
    ) -> None:
        self.is_dropped: Callable[[str | None], bool] = (lambda _: False) if shows_all else is_harmless_reason
        self._add_group = add_group
        self._add_observed = add_observed
        self._counts: Counter[_Key] = Counter()
        self._groups: list[tuple[Group | None, datetime]] = []  # in the order of `_counts`; when the first entry began
        self._last: dict[_Key, datetime] = {}  # entry of groups that are refused or observed
        self._observed: Counter[ObservedKey] = Counter()
        self._characters = 0
        self._earlier: set[_Key] = set()
        self._earlier_characters = 0

    def add(self, entries: Sequence[Entry | Brief], special: Sequence[Entry | Brief]) -> None:
        """Count entries. `special` are those that were refused or observed."""
        counts, groups = self._counts, self._groups
        keys = list(map(key_of, entries))
        counts.update(keys)
        for entry in special:
            key = key_of(entry)
            self._last[key] = entry.time
            if entry.observed is not None:
                has_name = entry.user or entry.cert_email or entry.cert_subject
                client = None if has_name else entry.client_ip
                self._observed[ObservedKey(key, client, entry.observed, entry.rule or "")] += 1
        count = len(counts) - len(groups)
        if count:
            new = list(islice(reversed(counts), count))
            firsts = dict(zip(reversed(keys), reversed(entries), strict=True)) if count > _FEW else None
            for key in reversed(new):
                entry = entries[keys.index(key)] if firsts is None else firsts[key]
                groups.append((self._group(entry), entry.time))
                self._characters += characters(key)
            if len(groups) > MAX_GROUPS or self._characters > MAX_GROUP_CHARACTERS:
                self.empty()
        if len(self._observed) > MAX_GROUPS:
            self.empty()

    def remember(self, entries: Sequence[Entry | Brief], seen: Callable[[Group], None]) -> None:
        """Look at entries that don't count."""
        for entry in entries:
            key = key_of(entry)
            if key in self._earlier:
                continue
            group = self._group(entry)
            if group is not None:
                seen(group)
            self._earlier.add(key)
            self._earlier_characters += characters(key)
        if len(self._earlier) > MAX_GROUPS or self._earlier_characters > MAX_GROUP_CHARACTERS:
            self._earlier.clear()
            self._earlier_characters = 0

    def empty(self) -> None:
        """Hand all on."""
        found = dict(zip(self._counts, self._groups, strict=True))
        for key, (group, first) in found.items():
            self._add_group(group, self._counts[key], first, self._last.get(key, first))
        for seen, count in self._observed.items():
            group = found[seen.key][0]
            if group is not None:
                self._add_observed(group, seen, count, self._last[seen.key])
        self._counts.clear()
        self._groups.clear()
        self._last.clear()
        self._observed.clear()
        self._characters = 0

    def _group(self, entry: Entry | Brief) -> Group | None:
        return None if self.is_dropped(entry.reason) else group_of(entry)


class Clients:
    """Requests by address, as it stands in the log, until there are many addresses."""

    def __init__(self, addresses: Ranked) -> None:
        self._addresses = addresses
        self._requests: Counter[str | None] = Counter()
        self._refused: Counter[str | None] = Counter()
        self._characters = 0

    def add(self, entries: Sequence[Entry | Brief]) -> None:
        """Count the entries."""
        known = len(self._requests)
        if known > MAX_GROUPS or self._characters > MAX_GROUP_CHARACTERS:
            self.empty()
            known = 0
        self._requests.update([entry.client_ip for entry in entries])
        for client in islice(reversed(self._requests), len(self._requests) - known):
            self._characters += len(client or "")

    def drop(self, client: str | None) -> None:
        """One of the entries was no request."""
        self._requests[client] -= 1

    def refuse(self, client: str | None) -> None:
        """One of the entries was refused."""
        self._refused[client] += 1

    def empty(self) -> None:
        """Hand all on."""
        for client, count in self._requests.items():
            if client is not None:
                self._addresses.add(address_of(client), count, self._refused[client])
        self._requests.clear()
        self._refused.clear()
        self._characters = 0


class Paths(dict[str | None, Callable[[float], None]]):
    """By URI: what takes the duration of a request. The durations of a path are kept, and then added up at once."""

    def __init__(self, durations: Durations, command_of: Command) -> None:
        super().__init__()
        self._durations = durations
        self._command_of = command_of
        self._kept: dict[str, list[float]] = {}
        self._waited: list[float] = []
        self._count = 0
        self._characters = 0
        self._waiting = 0

    def __missing__(self, uri: str | None) -> Callable[[float], None]:
        path = path_of(uri, self._command_of) if uri else ""
        kept = self._waited if path is None else self._kept.setdefault(path, [])
        self[uri] = kept.append
        self._characters += len(uri or "")
        return kept.append

    def add(self, entries: Sequence[Entry | Brief]) -> None:
        """Take the durations of requests that were let in. A connection that was switched to WebSocket isn't one."""
        ended = [
            entry
            for entry in entries
            if entry.reason is None and entry.duration_ms is not None and entry.status != SWITCHING
        ]
        takers: Iterator[Any] = map(self.__getitem__, [entry.uri for entry in ended])
        deque(map(call, takers, [entry.duration_ms for entry in ended]), maxlen=0)  # a loop takes twice as long
        self._count += len(ended)
        if self._count > MAX_DURATIONS or len(self) > MAX_URIS or self._characters > MAX_URI_CHARACTERS:
            self._waiting += self.empty()

    def empty(self) -> int:
        """Add all up. Returns how many requests only waited."""
        for path, kept in self._kept.items():
            if kept and path:
                self._durations.add(path, kept)
            kept.clear()
        waited = self._waiting + len(self._waited)
        self._waited.clear()
        self._waiting = 0
        self._count = 0
        if len(self) > MAX_URIS or self._characters > MAX_URI_CHARACTERS:
            self.clear()
            self._kept.clear()
            self._characters = 0
        return waited
