"""When Python looks for garbage: objects that only refer to each other, which counting references leaves behind.

What a start makes is code and there to stay, and at the end of a process everything goes at once. To look through all
of it again and again takes a third of the time of a short command, and of that of a server's start and stop.
"""

from __future__ import annotations

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
# As many objects more than before: a start makes several times as many, of which next to none is garbage.
_RARELY: Final = (50_000, 10, 10)


def look_rarely() -> None:
    """From here on, for a process that starts."""
    gc.set_threshold(*_RARELY)


def look_as_usual() -> None:
    """From here on, for a process that serves; what is there now is kept, also in processes forked from it."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def look_no_more() -> None:
    """For a process that ends."""
    gc.freeze()
