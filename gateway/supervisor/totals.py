"""The sum of what several workers report of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

AnswerKey = tuple[int | None, str | None]  # a status, None where the client had gone; a reason code where refused

ObservedKey = tuple[str, str]  # a rule's name and a reason code


class Totals:
    """Counters that only grow, of workers that run and of workers that have ended."""

    def __init__(self) -> None:
        self.answers: Counter[AnswerKey] = Counter()
        self.observed: Counter[ObservedKey] = Counter()
        self.bytes: Counter[str] = Counter()  # "in", "out": of bodies
        self.handshakes: Counter[str] = Counter()  # "full", "resumed", "failed"
        self.dropped_log_lines = 0

    def add(self, report: Mapping[str, Any]) -> None:
        """Add a worker's report; one that has not reported yet has nothing to add."""
        if not report:
            return
        counters = report["counters"]
        self.answers.update({(status, reason): count for status, reason, count in counters["answers"]})
        self.observed.update({(rule, reason): count for rule, reason, count in counters["observed"]})
        self.bytes.update(counters["bytes"])
        self.handshakes.update(counters["handshakes"])
        self.dropped_log_lines += report["dropped_log_lines"]

    def add_totals(self, other: Totals) -> None:
        """Add another sum."""
        self.answers.update(other.answers)
        self.observed.update(other.observed)
        self.bytes.update(other.bytes)
        self.handshakes.update(other.handshakes)
        self.dropped_log_lines += other.dropped_log_lines
