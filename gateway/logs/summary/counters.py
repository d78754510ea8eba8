"""Counts in constant memory: how often each of many keys occurs, if there may be more keys than memory.

Keeps true: a counter holds at most `capacity` keys, and a count is never too low and at most `error` too high. Counts
are exact as long as there are no more keys than that.

This is Space-Saving (Metwally, Agrawal, El Abbadi, 2005), pruned in batches: a table that is full drops the lower half
of its keys. What a dropped key had counted is at most `floor`, the highest count that was dropped. A key that comes
later may be a dropped one, so it begins with `floor`, which is its error. A key that was there from the beginning has
no error at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

MAX_PATHS: Final = 2048


@dataclass(frozen=True, slots=True)
class Count(Generic[Key]):
    """How often a key occurred: at most `count`, at least `count - error`; and when it last did, if that is known."""

    key: Key
    count: int
    error: int
    last: datetime | None = None


class TopCounts(Generic[Key]):
    """The keys that occur most often."""

    def __init__(self, capacity: int) -> None:
        self.floor = 0  # what a key that isn't held may have counted
        self._capacity = capacity
        self._counts: dict[Key, int] = {}
        self._errors: dict[Key, int] = {}  # of keys that have one
        self._last: dict[Key, datetime] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def __contains__(self, key: Key) -> bool:
        return key in self._counts

    def __iter__(self) -> Iterator[Count[Key]]:
        for key, count in self._counts.items():
            yield Count(key, count, self._errors.get(key, 0), self._last.get(key))

    @property
    def is_exact(self) -> bool:
        """True as long as no key was dropped."""
        return not self.floor

    def add(self, key: Key, count: int, last: datetime | None = None) -> None:
        """The key occurred so often, the last time then."""
        held = self._counts.get(key)
        if held is None:
            held = self.floor
            if held:
                self._errors[key] = held
        self._counts[key] = held + count
        if last is not None:
            before = self._last.get(key)
            if before is None or last > before:
                self._last[key] = last
        if len(self._counts) > self._capacity:
            self._prune()

    def merge(self, other: TopCounts[Key]) -> None:
        """Count what another process has counted. A key that one of them doesn't hold may have been dropped there."""
        mine, self._counts = self._counts, {}
        for key in mine | other._counts:
            self._counts[key] = mine.get(key, self.floor) + other._counts.get(key, other.floor)
            error = self._errors.get(key, 0 if key in mine else self.floor)
            error += other._errors.get(key, 0 if key in other._counts else other.floor)
            if error:
                self._errors[key] = error
        for key, last in other._last.items():
            self._last[key] = max(last, self._last.get(key, last))
        self.floor += other.floor
        if len(self._counts) > self._capacity:
            self._prune()

    def _prune(self) -> None:
        kept = (self._capacity + 1) // 2
        ranked = sorted(self._counts.items(), key=itemgetter(1), reverse=True)
        self._counts = dict(ranked[:kept])
        self.floor = ranked[kept][1]
        self._errors = {key: error for key, error in self._errors.items() if key in self._counts}
        self._last = {key: last for key, last in self._last.items() if key in self._counts}


def ranked(counts: Iterable[Count[str]]) -> list[Count[str]]:
    """The highest count first. Of equal ones, the exact one, then by name."""
    return sorted(counts, key=lambda each: (-each.count, each.error, each.key))


class Names:
    """A set of names. When it is full, it takes no more, and says so."""

    def __init__(self, capacity: int) -> None:
        self.is_complete = True
        self._capacity = capacity
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def add(self, name: str) -> None:
        """Take a name."""
        if len(self._names) < self._capacity:
            self._names.add(name)
        elif name not in self._names:
            self.is_complete = False

    def merge(self, other: Names) -> None:
        """Take the names of another process."""
        for name in other:
            self.add(name)
        self.is_complete = self.is_complete and other.is_complete


class FirstTimes(Generic[Key]):
    """When each key occurred first, or that it was known before. A full table takes no more keys, and says so."""

    def __init__(self, capacity: int) -> None:
        self.is_complete = True
        self._capacity = capacity
        self._first: dict[Key, datetime | None] = {}  # None: known before

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, key: Key) -> bool:
        return key in self._first

    def items(self) -> Iterable[tuple[Key, datetime | None]]:
        """The keys and their times; None if it was known before."""
        return self._first.items()

    def add(self, key: Key, time: datetime | None) -> None:
        """The key occurred then, in a line behind those that were added; or it was known before."""
        if key not in self._first and len(self._first) >= self._capacity:
            self.is_complete = False
        elif time is None or key not in self._first:
            self._first[key] = time

    def merge(self, other: FirstTimes[Key]) -> None:
        """Add what another process has seen, in a later part of the log."""
        for key, time in other.items():
            self.add(key, time)
        self.is_complete = self.is_complete and other.is_complete


@dataclass(frozen=True, slots=True)
class Duration:
    """How long the requests for a path took."""

    path: str
    count: int
    mean_ms: float
    longest_ms: float


class Durations:
    """The paths on which most time is spent. If there are too many, it counts too few requests, never too many."""

    def __init__(self, capacity: int = MAX_PATHS) -> None:
        self.is_exact = True
        self._capacity = capacity
        self._sums: dict[str, tuple[float, int, float]] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def __iter__(self) -> Iterator[Duration]:
        for path, (total, count, longest) in self._sums.items():
            yield Duration(path, count, total / count, longest)

    def add(self, path: str, milliseconds: list[float]) -> None:
        """These requests for it ended."""
        self._add(path, sum(milliseconds), len(milliseconds), max(milliseconds))

    def merge(self, other: Durations) -> None:
        """Add what another process has added."""
        for path, (total, count, longest) in other._sums.items():
            self._add(path, total, count, longest)
        self.is_exact = self.is_exact and other.is_exact

    def _add(self, path: str, total: float, count: int, longest: float) -> None:
        before, number, most = self._sums.get(path, (0.0, 0, 0.0))
        self._sums[path] = before + total, number + count, max(most, longest)
        if len(self._sums) > self._capacity:
            kept = sorted(self._sums.items(), key=itemgetter(1), reverse=True)
            self._sums = dict(kept[: (self._capacity + 1) // 2])
            self.is_exact = False


class Timeline:
    """Counts over time, in steps that become longer as the time does."""

    # Seconds; each divides the next, and 2,048 of the last are longer than all years that an entry may have.
    STEPS: Final = (600, 3600, 6 * 3600, 86400, 7 * 86400, 28 * 86400, 364 * 86400, 3640 * 86400)
    MAX_STEPS: Final = 2048

    def __init__(self) -> None:
        self.step = self.STEPS[0]
        self._counts: dict[int, list[int]] = {}  # by number of the step since 1970: requests and refusals

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, number: int, requests: int, refusals: int) -> None:
        """So many in the step with this number."""
        held = self._counts.setdefault(number, [0, 0])
        held[0] += requests
        held[1] += refusals
        while len(self._counts) > self.MAX_STEPS:
            longer = self.STEPS[self.STEPS.index(self.step) + 1]
            self._counts = self.in_steps(longer, 0)
            self.step = longer

    def merge(self, other: Timeline) -> None:
        """Count what another process has counted."""
        step = max(self.step, other.step)
        self._counts, self.step = self.in_steps(step, 0), step
        for number, (requests, refusals) in other.in_steps(step, 0).items():
            self.add(number * step // self.step, requests, refusals)

    def in_steps(self, step: int, offset: int) -> dict[int, list[int]]:
        """The counts in longer steps, which begin at multiples of `step` after `offset` seconds were added."""
        found: dict[int, list[int]] = {}
        for number, (requests, refusals) in self._counts.items():
            held = found.setdefault((number * self.step + offset) // step, [0, 0])
            held[0] += requests
            held[1] += refusals
        return found
