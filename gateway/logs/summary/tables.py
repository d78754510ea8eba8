"""The tables of a summary: what was counted, in a bounded number of keys.

Keeps true: the tables of two parts of a log, merged, are those of the whole log. Where tables had to drop keys, they
still say how much too high a count may be.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from gateway.logs.summary.counters import Durations, FirstTimes, Names, Timeline, TopCounts
from gateway.logs.summary.names import Links

# With all tables full, and in both processes that read a large file, memory stays below 64 MiB.
MAX_KEYS: Final = 2048  # of a ranking
MAX_ADDRESSES: Final = 8192  # of requests: a phone has many
MAX_REFUSED: Final = 4096  # people that were refused, or would be by a rule in observation: these lists should be whole
MAX_LET_IN: Final = 4096  # devices and certificates that were let in: strangers can't fill these tables
MAX_PEOPLE: Final = 8192  # that were let in, and of names that were let in together


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


class Ranked:
    """How many requests a kind of client made, and how many of them were refused."""

    def __init__(self, requests: int, refused: int) -> None:
        self.requests: TopCounts[str] = TopCounts(requests)
        self.refusals: TopCounts[str] = TopCounts(refused)

    def add(self, key: str | None, count: int, refused: int, last: datetime | None = None) -> None:
        """So many requests of this client, of which so many were refused."""
        if key is not None:
            if count:
                self.requests.add(key, count)
            if refused:
                self.refusals.add(key, refused, last)

    def merge(self, other: Ranked) -> None:
        """Count what another process has counted."""
        self.requests.merge(other.requests)
        self.refusals.merge(other.refusals)


class FirstSeen:
    """When something was seen first. What was let in has a table of its own, which strangers can't fill."""

    def __init__(self) -> None:
        self.let_in: FirstTimes[str] = FirstTimes(MAX_LET_IN)
        self.refused: FirstTimes[str] = FirstTimes(MAX_KEYS)
        self.people: dict[str, str] = {}  # whose it is

    def add(self, key: str | None, time: datetime | None, person: str | None, *, is_let_in: bool) -> None:
        """It was seen then, or is known from before."""
        if key is None:
            return
        table = self.let_in if is_let_in else self.refused
        table.add(key, time)
        if person is not None and key in table:
            self.people.setdefault(key, person)

    def merge(self, other: FirstSeen) -> None:
        """Add what another process has seen."""
        self.let_in.merge(other.let_in)
        self.refused.merge(other.refused)
        for key, person in other.people.items():
            if key in self.let_in or key in self.refused:
                self.people.setdefault(key, person)

    @property
    def is_complete(self) -> bool:
        """Whether the tables had room for everything."""
        return self.let_in.is_complete and self.refused.is_complete


class Tables:
    """What was counted so far."""

    def __init__(self, since: datetime | None) -> None:
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
        self.people = Ranked(MAX_KEYS, MAX_REFUSED)
        self.addresses = Ranked(MAX_ADDRESSES, MAX_REFUSED)
        self.devices = Ranked(MAX_KEYS, MAX_KEYS)
        self.people_by_reason: TopCounts[Reasoned] = TopCounts(MAX_REFUSED)
        self.people_let_in = Names(MAX_PEOPLE)
        self.people_with_certificate = Names(MAX_PEOPLE)
        self.observed: TopCounts[Observed] = TopCounts(MAX_REFUSED)
        self.first_devices = FirstSeen()
        self.first_certificates = FirstSeen()
        self.durations = Durations()
        self.links = Links(MAX_PEOPLE)

    def add_period(self, first: datetime, last: datetime) -> None:
        """Requests that count began between these."""
        self.first = _earlier(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def merge(self, other: Tables) -> None:
        """Count what another process has counted, of a later part of the same log."""
        if other.first is not None and other.last is not None:
            self.add_period(other.first, other.last)
        if other.earliest is not None:
            self.earliest = _earlier(self.earliest, other.earliest)
        self.counted += other.counted
        self.earlier += other.earlier
        self.dropped += other.dropped
        self.requests += other.requests
        self.refused += other.refused
        self.let_in += other.let_in
        self.unnamed += other.unnamed
        self.waiting += other.waiting
        self.timeline.merge(other.timeline)
        self.reasons.merge(other.reasons)
        for mine, others in (
            (self.people, other.people),
            (self.addresses, other.addresses),
            (self.devices, other.devices),
        ):
            mine.merge(others)
        self.people_by_reason.merge(other.people_by_reason)
        self.people_let_in.merge(other.people_let_in)
        self.people_with_certificate.merge(other.people_with_certificate)
        self.observed.merge(other.observed)
        self.first_devices.merge(other.first_devices)
        self.first_certificates.merge(other.first_certificates)
        self.durations.merge(other.durations)
        self.links.merge(other.links)


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)
