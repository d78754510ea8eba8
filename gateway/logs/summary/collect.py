"""Counts the entries of an access log.

Keeps true: memory is constant, whatever entries come and how many; what is counted doesn't depend on how the entries
were split into batches. Entries before `since` are only remembered for what is seen for the first time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.logs.entry import Entry
from gateway.logs.summary.batches import Batch, Brief
from gateway.logs.summary.buffers import Clients, Command, Groups, ObservedKey, Paths
from gateway.logs.summary.groups import UNAUTHORIZED, Group, address_of, cut, reason_of
from gateway.logs.summary.tables import Observed, Reasoned, Tables


class Collector:
    """Counts entries. `finish` gives what was counted."""

    def __init__(self, since: datetime | None, *, shows_all: bool, command_of: Command) -> None:
        self.tables = Tables(since)
        self._groups = Groups(self._add_group, self._add_observed, shows_all=shows_all)
        self._clients = Clients(self.tables.addresses)
        self._paths = Paths(self.tables.durations, command_of)

    def add(self, batch: Batch) -> None:
        """Count entries."""
        if self.tables.earliest is None or batch.times[0] < self.tables.earliest:
            self.tables.earliest = batch.times[0]
        since = self.tables.since
        if since is not None and batch.times[0] < since:
            earlier = [entry for entry in batch.entries if entry.time < since]
            self.tables.earlier += len(earlier)
            self._groups.remember(earlier, lambda group: self._seen(group, None))
            if len(earlier) == len(batch.entries):
                return
            batch = Batch.of([entry for entry in batch.entries if entry.time >= since])
        entries, times = batch
        self.tables.add_period(times[0], times[-1])
        self.tables.counted += len(entries)
        special = [
            each
            for each in entries
            if each.reason is not None or each.status == UNAUTHORIZED or each.observed is not None
        ]
        self._groups.add(entries, special)
        self._clients.add(entries)
        self._paths.add(entries)
        self._add_times(times, special)

    def finish(self) -> Tables:
        """Count what was kept until now. More entries may come."""
        self._groups.empty()
        self._clients.empty()
        self.tables.waiting += self._paths.empty()
        return self.tables

    def _add_times(self, times: list[datetime], special: Sequence[Entry | Brief]) -> None:
        timeline = self.tables.timeline
        step = timeline.step
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
            self.tables.timeline.add(
                number * step // self.tables.timeline.step, end - begin - dropped[number], refused[number]
            )
            begin = end

    def _seen(self, group: Group, first: datetime | None) -> None:
        self.tables.first_devices.add(group.device, first, group.person, is_let_in=group.is_let_in)
        self.tables.first_certificates.add(group.fingerprint, first, group.holder, is_let_in=group.is_let_in)

    def _add_group(self, group: Group | None, count: int, first: datetime, last: datetime) -> None:
        if group is None:
            self.tables.dropped += count
            return
        refused = 0 if group.reason is None else count
        self.tables.requests += count
        if group.is_let_in:
            self.tables.let_in += count
        if group.reason is not None:
            self.tables.refused += count
            self.tables.reasons.add(group.reason, count)
        self.tables.devices.add(group.device, count, refused, last)
        self.tables.people.add(group.person, count, refused, last)
        self._seen(group, first)
        if group.person is None:
            self.tables.unnamed += count
        else:
            self._add_person(group, group.person, count)

    def _add_observed(self, group: Group, seen: ObservedKey, count: int, last: datetime) -> None:
        address = "" if group.person else address_of(seen.client or "-")
        self.tables.observed.add(Observed(group.person, address, cut(seen.reason), cut(seen.rule)), count, last)

    def _add_person(self, group: Group, person: str, count: int) -> None:
        if group.reason is not None:
            self.tables.people_by_reason.add(Reasoned(person, group.reason), count)
        if group.is_let_in:
            self.tables.people_let_in.add(person)
            self.tables.links.add(group.login, group.holder)
            if group.fingerprint is not None and not group.is_observed:
                self.tables.people_with_certificate.add(person)
