"""The summary of an access log, as plain values: what a text, a JSON object and a page show in their own ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from gateway.logs.summary.counters import Count, Duration, Timeline, TopCounts, ranked
from gateway.logs.summary.tables import FirstSeen, Observed, Reasoned, Tables

MAX_BARS: Final = 60  # of the timeline
KINDS: Final = ("people", "addresses", "devices")
_MIN_REQUESTS: Final = 5  # for a path's mean to say something

Key = TypeVar("Key")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Lines:
    """What was read."""

    read: int
    counted: int
    earlier: int  # than --since
    unreadable: int
    too_long: int
    combined: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A step of the timeline."""

    begin: datetime
    requests: int
    refusals: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """The keys with the highest counts."""

    rows: tuple[Count[str], ...]
    is_exact: bool  # otherwise there are more keys than these


@dataclass(frozen=True, slots=True)
class Person:
    """A person that was refused, and why."""

    refusals: Count[str]
    reasons: tuple[Count[str], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A device or certificate, and when it was seen first."""

    key: str
    time: datetime
    person: str | None
    is_let_in: bool  # once at least


@dataclass(frozen=True, slots=True)
class FirstList:
    """What is new in the period, the newest first."""

    rows: tuple[Seen, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Unready:
    """A person, or an address without a name, that a rule in observation would have refused."""

    name: str
    is_person: bool
    rule: str
    reason: str
    requests: Count[Observed]
    has_certificate: bool  # that let the person in with another request


@dataclass(frozen=True, slots=True)
class Report:
    """All of the summary."""

    since: datetime | None
    until: datetime | None
    first: datetime | None  # request of the period
    last: datetime | None
    earliest: datetime | None  # of all lines that were read
    lines: Lines
    requests: int
    let_in: int
    refused: int
    dropped: int
    unnamed: int
    step: int  # seconds
    bars: tuple[Bar, ...]
    reasons: tuple[Count[str], ...]
    requests_of: dict[str, Ranking]
    refusals_of: dict[str, Ranking]
    people_refused: tuple[Person, ...]
    never_let_in: tuple[Person, ...]
    is_never_certain: bool
    slowest: tuple[Duration, ...]
    is_slowest_exact: bool
    waiting: int
    first_devices: FirstList
    first_certificates: FirstList
    observed: tuple[Unready, ...]
    is_observed_exact: bool


def report_of(found: Tables, lines: Lines, until: datetime | None) -> Report:
    """What was collected."""
    names = found.links.people(_names(found))
    refusals = _joined(found.people.refusals, lambda name: names[name])
    reasons = _by_person(found.people_by_reason, names)
    refused = tuple(Person(each, reasons.get(each.key, ())) for each in ranked(refusals.values()))
    let_in = {names[name] for name in found.people_let_in}
    step, bars = _bars(found.timeline)
    return Report(
        since=found.since,
        until=until,
        first=found.first,
        last=found.last,
        earliest=found.earliest,
        lines=lines,
        requests=found.requests,
        let_in=found.let_in,
        refused=found.refused,
        dropped=found.dropped,
        unnamed=found.unnamed,
        step=step,
        bars=bars,
        reasons=tuple(ranked(found.reasons)),
        requests_of={
            "people": _ranking(found.people.requests, names),
            "addresses": _ranking(found.addresses.requests),
            "devices": _ranking(found.devices.requests),
        },
        refusals_of={
            "people": Ranking(tuple(each.refusals for each in refused), found.people.refusals.is_exact),
            "addresses": _ranking(found.addresses.refusals),
            "devices": _ranking(found.devices.refusals),
        },
        people_refused=refused,
        never_let_in=tuple(each for each in refused if each.refusals.key not in let_in),
        is_never_certain=found.people_let_in.is_complete and found.people.refusals.is_exact,
        slowest=tuple(sorted(found.durations, key=_slowness)),
        is_slowest_exact=found.durations.is_exact,
        waiting=found.waiting,
        first_devices=_first(found.first_devices, names),
        first_certificates=_first(found.first_certificates, names),
        observed=_unready(found, names),
        is_observed_exact=found.observed.is_exact,
    )


def _names(found: Tables) -> set[str]:
    names = {each.key for each in found.people.requests}
    names.update(each.key for each in found.people.refusals)
    names.update(each.key.person for each in found.people_by_reason)
    names.update(found.people_let_in, found.people_with_certificate)
    names.update(each.key.person for each in found.observed if each.key.person is not None)
    return names.union(found.first_devices.people.values(), found.first_certificates.people.values())


def _joined(counts: Iterable[Count[Key]], rename: Callable[[Key], Other]) -> dict[Other, Count[Other]]:
    """The counts under other keys. Sums keep what a counter keeps: never too low, at most `error` too high."""
    found: dict[Other, Count[Other]] = {}
    for each in counts:
        key = rename(each.key)
        before = found.get(key)
        if before is None:
            found[key] = Count(key, each.count, each.error, each.last)
        else:
            last = max((time for time in (before.last, each.last) if time is not None), default=None)
            found[key] = Count(key, before.count + each.count, before.error + each.error, last)
    return found


def _ranking(counts: TopCounts[str], names: dict[str, str] | None = None) -> Ranking:
    found = counts if names is None else _joined(counts, lambda name: names[name]).values()
    return Ranking(tuple(ranked(found)), counts.is_exact)


def _by_person(counts: TopCounts[Reasoned], names: dict[str, str]) -> dict[str, tuple[Count[str], ...]]:
    joined = _joined(counts, lambda key: Reasoned(names[key.person], key.reason))
    found: dict[str, list[Count[str]]] = {}
    for key, each in joined.items():
        found.setdefault(key.person, []).append(Count(key.reason, each.count, each.error))
    return {person: tuple(ranked(reasons)) for person, reasons in found.items()}


def _bars(timeline: Timeline) -> tuple[int, tuple[Bar, ...]]:
    """At most `MAX_BARS` where a step allows it, without gaps, at full hours and midnights of local time."""
    for step in timeline.STEPS[timeline.STEPS.index(timeline.step) :]:
        latest = max(timeline.in_steps(step, 0), default=0) * step
        offset = datetime.fromtimestamp(latest, UTC).astimezone().utcoffset() or timedelta()
        seconds = int(offset.total_seconds())
        counts = timeline.in_steps(step, seconds)
        if not counts or max(counts) - min(counts) < MAX_BARS:
            break
    bars = [
        Bar(datetime.fromtimestamp(number * step - seconds, UTC), *counts.get(number, (0, 0)))
        for number in range(min(counts, default=0), max(counts, default=-1) + 1)
    ]
    return step, tuple(bars)


def _slowness(path: Duration) -> tuple[bool, float, str]:
    return path.count < _MIN_REQUESTS, -path.mean_ms, path.path


def _first(found: FirstSeen, names: dict[str, str]) -> FirstList:
    times: dict[str, datetime] = {}
    known = set()
    for key, time in (*found.let_in.items(), *found.refused.items()):
        if time is None:
            known.add(key)
        else:
            times[key] = min(time, times.get(key, time))
    rows = [
        Seen(key, time, None if (person := found.people.get(key)) is None else names[person], key in found.let_in)
        for key, time in times.items()
        if key not in known
    ]
    return FirstList(tuple(sorted(rows, key=lambda each: (each.time, each.key), reverse=True)), found.is_complete)


def _unready(found: Tables, names: dict[str, str]) -> tuple[Unready, ...]:
    """The people first, then addresses without a name; each by the number of requests."""
    have = {names[name] for name in found.people_with_certificate}

    def rename(key: Observed) -> Observed:
        if key.person is None:
            return key
        return Observed(names[key.person], "", key.reason, key.rule)

    rows = [
        Unready(
            name=key.address if key.person is None else key.person,
            is_person=key.person is not None,
            rule=key.rule,
            reason=key.reason,
            requests=requests,
            has_certificate=key.person in have,
        )
        for key, requests in _joined(found.observed, rename).items()
    ]
    return tuple(sorted(rows, key=lambda each: (not each.is_person, -each.requests.count, each.name, each.reason)))
