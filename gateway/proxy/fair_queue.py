"""Distributes work that reads left over: a little in every turn of the event loop, one client after the other.

Keeps true: in each turn this work takes at most `TURN_SECONDS` and one more piece, however many connections wait; then
other sockets are served. Clients take turns, not connections, so a client with many connections has no advantage.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

from gateway import clock

# A piece is a request, or the contents of 16 KiB of ciphertext: some tenths of a millisecond. Checking the other
# sockets costs a system call, so a turn has a few pieces.
TURN_SECONDS: Final = 0.0005

_log = logging.getLogger("gateway.proxy")


class FairQueue:
    """The waiting work of one worker. Each connection has at most one waiting piece in each direction."""

    __slots__ = ("_is_due", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}  # by client; the first one is next
        self._is_due = False

    def wait(self, client: Hashable, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn; it does one piece of work, and calls `wait` again if there is more."""
        queue = self._waiting.get(client)
        if queue is None:
            self._waiting[client] = queue = deque()
        queue.append(go_on)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        """Do one turn. libuv checks all sockets before it calls functions given to `call_soon` meanwhile."""
        waiting = self._waiting
        end = clock.monotonic_seconds() + TURN_SECONDS
        while waiting:
            client, queue = next(iter(waiting.items()))
            del waiting[client]
            go_on = queue.popleft()
            if queue:
                waiting[client] = queue  # after the others
            try:
                go_on()
            except Exception:  # noqa: BLE001 - an error in one connection must not affect the next
                _log.exception("continuing with %r failed", go_on)
            if clock.monotonic_seconds() >= end:
                break
        self._is_due = bool(waiting)
        if waiting:
            self._loop.call_soon(self._take)
