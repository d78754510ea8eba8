"""Handles a client that closed its side and may be waiting for its answer.

A close_notify or a FIN after a request says only that no more data follows. `printf … | openssl s_client` and some HTTP
libraries send one and then read; a phone that gives up a long poll sends the same and is gone. TCP shows no difference
until data is written. So the answer is delivered if it begins soon and continues, and an upstream is not kept busy for
a client that is gone.

Keeps true: after the client closed its side, the exchange ends after `HALF_CLOSED_SECONDS` without progress.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

# Long enough for nearly every page, and much shorter than a long poll, which each phone has.
HALF_CLOSED_SECONDS: Final = 10.0


class Client(Protocol):
    """The connection whose client closed its side."""

    is_write_paused: bool

    def progress(self) -> object:
        """A value that changes with every part of an answer and with every new request."""

    def end_half_closed(self) -> None:
        """Give up the client."""


class HalfClosed:
    """Checks at intervals whether the answer makes progress."""

    __slots__ = ("_client", "_loop", "_seen", "_timer")

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._seen = client.progress()
        self._timer = loop.call_later(HALF_CLOSED_SECONDS, self._look)

    def _look(self) -> None:
        client, seen = self._client, self._client.progress()
        if seen == self._seen and not client.is_write_paused:  # a slow client has its own limit
            client.end_half_closed()
            return
        self._seen = seen
        self._timer = self._loop.call_later(HALF_CLOSED_SECONDS, self._look)

    def cancel(self) -> None:
        """Stop checking: the connection is closed, or carries a tunnel."""
        self._timer.cancel()
