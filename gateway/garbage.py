"""When Python's garbage collector runs, which finds objects that only refer to each other.

A start creates mostly code, which stays, and at the end of a process everything is freed at once. Searching all of it
repeatedly takes a third of the time of a short command, and of a server's start and stop.
"""

from __future__ import annotations

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
# So many new objects start a search: a start makes several times as many, and hardly any of them is garbage.
_RARELY: Final = (50_000, 10, 10)


def look_rarely() -> None:
    """Search rarely from here on: for a process that starts."""
    gc.set_threshold(*_RARELY)


def look_as_usual() -> None:
    """Search as usual from here on: for a process that serves. Older objects are kept, also in forked processes."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def look_no_more() -> None:
    """Search no existing object again: for a process that ends."""
    gc.freeze()
