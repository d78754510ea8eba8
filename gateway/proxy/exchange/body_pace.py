"""Checks that a request's body arrives fast enough (against slowloris: single bytes that keep connections busy).

Keeps true: enough bytes must arrive in every span of `transfer_idle`, so a client can't send a megabyte at once and
then be slow for hours. Time in which the upstream did not read doesn't count.
"""

from __future__ import annotations

from gateway.config.model import Limits


class Pace:
    """Measures the pace of one body."""

    __slots__ = ("_begun_seconds", "_limits", "_received_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._begun_seconds = 0.0  # of the current span, monotonic
        self._received_bytes = 0  # in it

    def begin(self, now: float) -> None:
        """Begin a new span."""
        self._begun_seconds = now
        self._received_bytes = 0

    def is_too_slow(self, count: int, now: float) -> bool:
        """Count bytes that arrived; True if a whole span had too few."""
        self._received_bytes += count
        seconds = now - self._begun_seconds
        if seconds < self._limits.transfer_idle_seconds:
            return False
        if self._received_bytes < seconds * self._limits.body_bytes_per_second:
            return True
        self.begin(now)
        return False
