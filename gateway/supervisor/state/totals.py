"""The sums of the workers' counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

AnswerKey = tuple[int | None, str | None]  # a status, None if the client had left; a reason code if refused

ObservedKey = tuple[str, str]  # a rule's name and a reason code


class Totals:
    """Sums of counters that only grow."""

    def __init__(self) -> None:
        self.answers: Counter[AnswerKey] = Counter()
        self.observed: Counter[ObservedKey] = Counter()
        self.bytes: Counter[str] = Counter()  # "in", "out": bytes of bodies
        self.handshakes: Counter[str] = Counter()  # "full", "resumed", "failed"
        self.dropped_log_lines = 0

    def add(self, report: Mapping[str, Any]) -> None:
        """Add a worker's report; an empty one, of a worker that has not reported yet, adds nothing."""
        if not report:
            return
        counters = report["counters"]
        self.answers.update({(status, reason): count for status, reason, count in counters["answers"]})
        self.observed.update({(rule, reason): count for rule, reason, count in counters["observed"]})
        self.bytes.update(counters["bytes"])
        self.handshakes.update(counters["handshakes"])
        self.dropped_log_lines += report["dropped_log_lines"]

    def add_totals(self, other: Totals) -> None:
        """Add other totals."""
        self.answers.update(other.answers)
        self.observed.update(other.observed)
        self.bytes.update(other.bytes)
        self.handshakes.update(other.handshakes)
        self.dropped_log_lines += other.dropped_log_lines
