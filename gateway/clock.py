"""The only module that reads a clock; everything else takes `now` as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, UTC."""
    return datetime.now(UTC)


def unix_seconds() -> float:
    """Seconds since 1970-01-01 UTC."""
    return time.time()


def monotonic_seconds() -> float:
    """Seconds on a clock that never goes back; for durations."""
    return time.monotonic()
