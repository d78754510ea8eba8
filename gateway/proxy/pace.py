"""How fast a request's body must come (slowloris: a byte now and then, to hold a connection and the upstream's).

Keeps true: every span of `transfer_idle` carries its share of bytes by itself, so that nobody sends a megabyte at once
and lives on it for hours; time in which the upstream did not read counts for nothing.
"""

from __future__ import annotations

from gateway.config.model import Limits


class Pace:
    """The pace of one body."""

    __slots__ = ("_begun_seconds", "_limits", "_received_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._begun_seconds = 0.0  # of the current span, monotonic
        self._received_bytes = 0  # in it

    def begin(self, now: float) -> None:
        """Count anew from here."""
        self._begun_seconds = now
        self._received_bytes = 0

    def is_too_slow(self, count: int, now: float) -> bool:
        """Count bytes that came; True where a whole span has brought too few."""
        self._received_bytes += count
        seconds = now - self._begun_seconds
        if seconds < self._limits.transfer_idle_seconds:
            return False
        if self._received_bytes < seconds * self._limits.body_bytes_per_second:
            return True
        self.begin(now)
        return False
