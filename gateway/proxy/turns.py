"""Work that a read left over: a little of it in every turn of the event loop, one client after the other.

Keeps true: what is left over takes at most `TURN_SECONDS` and one more piece of a turn, however many connections have
some; then other sockets are looked at. Clients take turns, not connections, so that one with many gains nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

from gateway import clock

# A piece is a request, or what is in 16 KiB of ciphertext: some tenths of a millisecond. Turning to the other sockets
# costs a system call, so there are a few pieces to a turn.
TURN_SECONDS: Final = 0.0005

_log = logging.getLogger("gateway.proxy")


class Turns:
    """The work of one worker that waits for its turn. Each connection waits with one piece each way at most."""

    __slots__ = ("_is_due", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}  # by client; the first one is next
        self._is_due = False

    def wait(self, client: Hashable, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn; it does one piece of work and waits again where there is more."""
        queue = self._waiting.get(client)
        if queue is None:
            self._waiting[client] = queue = deque()
        queue.append(go_on)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        """One turn. libuv looks at all sockets before it calls what was given to `call_soon` meanwhile."""
        waiting = self._waiting
        end = clock.monotonic_seconds() + TURN_SECONDS
        while waiting:
            client, queue = next(iter(waiting.items()))
            del waiting[client]
            go_on = queue.popleft()
            if queue:
                waiting[client] = queue  # behind the others
            try:
                go_on()
            except Exception:  # noqa: BLE001 - the failure of one connection is not that of the next
                _log.exception("continuing with %r failed", go_on)
            if clock.monotonic_seconds() >= end:
                break
        self._is_due = bool(waiting)
        if waiting:
            self._loop.call_soon(self._take)
