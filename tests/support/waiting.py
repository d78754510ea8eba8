"""Bounded polling: the one place where tests wait for another process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.01
# For what has to happen, however busy the machine is: only what hangs takes as long.
PATIENCE_SECONDS = 30.0
# What happens by itself within a second, on a machine that does much else: far less than any limit that would end it.
AT_ONCE_SECONDS = 20.0

# What has to end in a test lasts so many times as long as a part of its preparations took, and shorter than PATIENCE.
LASTING_FACTOR = 10
MAX_LASTING_SECONDS = 25


def lasting_seconds(usual: int, took: float) -> int:
    """How long it has to last so that a busy machine, where a part of the preparations took so long, gets ready."""
    return min(max(usual, math.ceil(LASTING_FACTOR * took)), MAX_LASTING_SECONDS)


def until(holds: Callable[[], T], what: str, *, seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of `holds()`; fails with `what` when none came within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (last: {value!r})")
        time.sleep(POLL_SECONDS)
    return value
