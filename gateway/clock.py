"""The only module that reads a clock; everything else takes `now` as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

# Seconds since 1970-01-01 UTC. The functions themselves, not wrappers: every request asks for both.
unix_seconds: Final = time.time
# Seconds on a clock that never goes back; for durations and deadlines.
monotonic_seconds: Final = time.monotonic


def now() -> datetime:
    """The current time, aware, UTC."""
    return datetime.now(UTC)
