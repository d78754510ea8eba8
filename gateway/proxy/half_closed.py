"""A client that has said all, and may be waiting for its answer.

A close_notify or a FIN behind a request says only that no more follows. `printf … | openssl s_client` and some HTTP
libraries send one and then read; a phone that gives up a long poll sends the same and is gone. TCP shows no difference
until something is written to it. So the answer is delivered if it begins soon and goes on coming, and an upstream is
not kept busy for a client that has gone.

Keeps true: an exchange whose client has said all ends after `HALF_CLOSED_SECONDS` in which nothing was answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.proxy.connection import ClientConnection

# Long enough for nearly every page, and far less than a long poll, of which there is one for each phone.
HALF_CLOSED_SECONDS: Final = 10.0


class HalfClosed:
    """Looks now and then whether the answer goes on."""

    __slots__ = ("_client", "_loop", "_seen", "_timer")

    def __init__(self, client: ClientConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._seen = client.progress()
        self._timer = loop.call_later(HALF_CLOSED_SECONDS, self._look)

    def _look(self) -> None:
        client, seen = self._client, self._client.progress()
        if seen == self._seen and not client.is_write_paused:  # a client that reads slowly has its own limit
            client.end_half_closed()
            return
        self._seen = seen
        self._timer = self._loop.call_later(HALF_CLOSED_SECONDS, self._look)

    def cancel(self) -> None:
        """The connection is gone, or carries a tunnel now."""
        self._timer.cancel()
