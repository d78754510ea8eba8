"""Counts the entries of an access log.

Keeps true: memory is constant, whatever entries come and how many; what is counted doesn't depend on how the entries
were split into batches. Entries before `since` are only remembered for what is seen for the first time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import call
from typing import Any, Final, NamedTuple

from gateway.logs.entry import Entry
from gateway.logs.render import is_harmless_reason
from gateway.logs.summary.batches import Batch, Brief
from gateway.logs.summary.counters import Durations, FirstTimes, Timeline, TopCounts
from gateway.logs.summary.groups import (
    SWITCHING,
    UNAUTHORIZED,
    Group,
    address_of,
    characters,
    cut,
    group_of,
    key_of,
    path_of,
    reason_of,
)
from gateway.logs.summary.names import Links

MAX_KEYS: Final = 4096  # of a table; it holds twice as many for a while
MAX_LET_IN: Final = 16_384  # people and devices that were let in: strangers can't fill these tables
MAX_GROUPS: Final = 12_288  # that are counted before they are looked at
MAX_GROUP_CHARACTERS: Final = 2 * 1024 * 1024  # in their values, since a value may have a thousand
MAX_DURATIONS: Final = 65_536  # that are kept before they are added up
MAX_URIS: Final = 8192  # whose paths are remembered
MAX_URI_CHARACTERS: Final = 1024 * 1024  # in them
_FEW: Final = 16  # new keys of a batch, that are looked for one by one

Command = Callable[[str], str | None]


_Key = tuple[object, ...]


class Reasoned(NamedTuple):
    """What was refused, of a person."""

    person: str
    reason: str


class Observed(NamedTuple):
    """What a rule in observation would have refused; of an address if the request names no person."""

    person: str | None
    address: str
    reason: str
    rule: str


class _Seen(NamedTuple):
    """What was observed, of entries with this key."""

    key: _Key
    client: str | None  # if the request names no person
    reason: str
    rule: str


class Ranked:
    """How many requests a kind of client made, and how many of them were refused."""

    def __init__(self) -> None:
        self.requests: TopCounts[str] = TopCounts(MAX_KEYS)
        self.refusals: TopCounts[str] = TopCounts(MAX_KEYS)

    def add(self, key: str | None, count: int, refused: int, last: datetime | None = None) -> None:
        """So many requests of this client, of which so many were refused."""
        if key is not None:
            if count:
                self.requests.add(key, count)
            if refused:
                self.refusals.add(key, refused, last)


class FirstSeen:
    """When something was seen first. What was let in has a table of its own, which strangers can't fill."""

    def __init__(self) -> None:
        self.let_in: FirstTimes[str] = FirstTimes(MAX_LET_IN)
        self.refused: FirstTimes[str] = FirstTimes(MAX_KEYS)
        self.people: dict[str, str] = {}  # whose it is

    def add(self, key: str | None, time: datetime, person: str | None, *, is_let_in: bool) -> None:
        """It was seen then."""
        if key is None:
            return
        table = self.let_in if is_let_in else self.refused
        table.add(key, time)
        if person is not None and key in table:
            self.people.setdefault(key, person)

    @property
    def is_complete(self) -> bool:
        """Whether the tables had room for everything."""
        return self.let_in.is_complete and self.refused.is_complete


class Collector:
    """What was counted so far. Call `finish` before reading it."""

    def __init__(self, since: datetime | None, *, shows_all: bool, command_of: Command) -> None:
        self.since = since
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.earliest: datetime | None = None  # of all lines, also of those before `since`
        self.counted = 0  # entries of the period
        self.earlier = 0  # entries before it
        self.dropped = 0  # connections that browsers opened and didn't need
        self.requests = 0
        self.refused = 0
        self.let_in = 0
        self.unnamed = 0
        self.waiting = 0  # requests that only waited for new mail
        self.timeline = Timeline()
        self.reasons: TopCounts[str] = TopCounts(MAX_KEYS)
        self.people = Ranked()
        self.addresses = Ranked()
        self.devices = Ranked()
        self.people_by_reason: TopCounts[Reasoned] = TopCounts(MAX_KEYS)
        self.people_let_in: TopCounts[str] = TopCounts(MAX_LET_IN)
        self.people_with_certificate: TopCounts[str] = TopCounts(MAX_LET_IN)
        self.observed: TopCounts[Observed] = TopCounts(MAX_KEYS)
        self.first_devices = FirstSeen()
        self.first_certificates = FirstSeen()
        self.durations = Durations()
        self.links = Links(MAX_LET_IN)
        self._groups = _Groups(self._add_group, self._add_observed, shows_all=shows_all)
        self._clients = _Clients(self.addresses)
        self._paths = _Paths(self.durations, command_of)

    def add(self, batch: Batch) -> None:
        """Count entries."""
        if self.earliest is None or batch.times[0] < self.earliest:
            self.earliest = batch.times[0]
        since = self.since
        if since is not None and batch.times[0] < since:
            earlier = [entry for entry in batch.entries if entry.time < since]
            self.earlier += len(earlier)
            self._groups.remember(earlier, self._seen)
            if len(earlier) == len(batch.entries):
                return
            batch = Batch.of([entry for entry in batch.entries if entry.time >= since])
        entries, times = batch
        self.first = times[0] if self.first is None else min(self.first, times[0])
        self.last = times[-1] if self.last is None else max(self.last, times[-1])
        self.counted += len(entries)
        special = [
            each
            for each in entries
            if each.reason is not None or each.status == UNAUTHORIZED or each.observed is not None
        ]
        self._groups.add(entries, special)
        self._clients.add(entries)
        self._paths.add(entries)
        self._add_times(times, special)

    def finish(self) -> None:
        """Count what was kept until now."""
        self._groups.empty()
        self._clients.empty()
        self.waiting += self._paths.empty()

    def _add_times(self, times: list[datetime], special: Sequence[Entry | Brief]) -> None:
        step = self.timeline.step
        dropped: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        for entry in special:
            number = int(entry.time.timestamp()) // step
            if self._groups.is_dropped(entry.reason):
                dropped[number] += 1
                self._clients.drop(entry.client_ip)
            elif reason_of(entry) is not None:
                refused[number] += 1
                self._clients.refuse(entry.client_ip)
        begin = 0
        while begin < len(times):
            number = int(times[begin].timestamp()) // step
            end = bisect_left(times, datetime.fromtimestamp((number + 1) * step, UTC), begin)
            # The steps may have become longer by those that were added before.
            self.timeline.add(number * step // self.timeline.step, end - begin - dropped[number], refused[number])
            begin = end

    def _seen(self, group: Group, first: datetime) -> None:
        self.first_devices.add(group.device, first, group.person, is_let_in=group.is_let_in)
        self.first_certificates.add(group.fingerprint, first, group.holder, is_let_in=group.is_let_in)

    def _add_group(self, group: Group | None, count: int, first: datetime, last: datetime) -> None:
        if group is None:
            self.dropped += count
            return
        refused = 0 if group.reason is None else count
        self.requests += count
        if group.is_let_in:
            self.let_in += count
        if group.reason is not None:
            self.refused += count
            self.reasons.add(group.reason, count)
        self.devices.add(group.device, count, refused, last)
        self.people.add(group.person, count, refused, last)
        self._seen(group, first)
        if group.person is None:
            self.unnamed += count
        else:
            self._add_person(group, group.person, count)

    def _add_observed(self, group: Group, seen: _Seen, count: int, last: datetime) -> None:
        address = "" if group.person else address_of(seen.client or "-")
        self.observed.add(Observed(group.person, address, cut(seen.reason), cut(seen.rule)), count, last)

    def _add_person(self, group: Group, person: str, count: int) -> None:
        if group.reason is not None:
            self.people_by_reason.add(Reasoned(person, group.reason), count)
        if group.is_let_in:
            self.people_let_in.add(person, count)
            self.links.add(group.login, group.holder)
            if group.fingerprint is not None and not group.is_observed:
                self.people_with_certificate.add(person, count)


class _Groups:
    """Entries by key, until there are many keys."""

    def __init__(
        self,
        add_group: Callable[[Group | None, int, datetime, datetime], None],
        add_observed: Callable[[Group, _Seen, int, datetime], None],
        *,
        shows_all: bool,
    ) -> None:
        self.is_dropped: Callable[[str | None], bool] = (lambda _: False) if shows_all else is_harmless_reason
        self._add_group = add_group
        self._add_observed = add_observed
        self._counts: Counter[_Key] = Counter()
        self._groups: list[tuple[Group | None, datetime]] = []  # in the order of `_counts`; when the first entry began
        self._last: dict[_Key, datetime] = {}  # entry of groups that are refused or observed
        self._observed: Counter[_Seen] = Counter()
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
                self._observed[_Seen(key, client, entry.observed, entry.rule or "")] += 1
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

    def remember(self, entries: Sequence[Entry | Brief], seen: Callable[[Group, datetime], None]) -> None:
        """Look at entries that don't count."""
        for entry in entries:
            key = key_of(entry)
            if key in self._earlier:
                continue
            group = self._group(entry)
            if group is not None:
                seen(group, entry.time)
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


class _Clients:
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


class _Paths(dict[str | None, Callable[[float], None]]):
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
