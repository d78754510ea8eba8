"""Sends the access log's lines to another program: a queue, one connection, and a new one when that is lost.

Keeps true: `write` only adds to the queue. One task sends; it never holds the event loop for more than a batch, and it
never gives up. Between attempts it waits longer each time, up to `MAX_RETRY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

from gateway import tasks
from gateway.clock import unix_seconds
from gateway.logs.line_queue import LineQueue

FLUSH_SECONDS: Final = 0.1  # the log's reader sees a line this soon
MAX_BATCH_BYTES: Final = 64 * 1024  # sent at once; datagrams of this size take less than a millisecond
MAX_BATCH_LINES: Final = 64
CONNECT_SECONDS: Final = 10.0  # for the name, the connection and TLS together
FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0  # soon enough for a server that was restarted
CLOSE_SECONDS: Final = 2.0  # for what is still queued when the gateway ends


class Link(Protocol):
    """A connection to the program that takes the lines."""

    is_lost: bool  # True: it can't be used any more

    async def send(self, queue: LineQueue) -> None:
        """Send at least one message from the head of a queue and take it out. Raises `OSError`."""

    async def close(self) -> None:
        """Close it after the other end has got what was sent, or after a short time."""

    def abort(self) -> None:
        """Close it at once."""


class SendingLog:
    """Takes lines and sends them. `connect` raises `OSError`; `message_of` makes what is sent for a line."""

    def __init__(
        self,
        queue: LineQueue,
        connect: Callable[[], Awaitable[Link]],
        message_of: Callable[[bytes, float], bytes],
        *,
        now: Callable[[], float] = unix_seconds,
    ) -> None:
        self._queue = queue
        self._connect = connect
        self._message_of = message_of
        self._now = now
        self._link: Link | None = None
        self._is_outdated = False  # the link is to be replaced by a new one
        self._task: asyncio.Task[None] | None = None
        self._has_lines = asyncio.Event()
        self._at_once = asyncio.Event()  # ends a pause between attempts
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __repr__(self) -> str:
        return f"<SendingLog queued_bytes={self._queue.queued_bytes} dropped_lines={self.dropped_lines}>"

    @property
    def dropped_lines(self) -> int:
        """How many lines were lost since the start."""
        return self._queue.dropped_lines

    @property
    def is_current(self) -> bool:
        """True: there is no file that could be renamed."""
        return True

    def start(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ARG002 - which is the running one
        """Send in this loop from now on. The first connection is made at once, so that a failure is reported early."""
        self._task = tasks.spawn(self._run(), name="access log")

    def write(self, line: bytes) -> None:
        """Add one line, newline included. Does no I/O."""
        self._queue.put(self._message_of(line, self._now()))
        if not self._has_lines.is_set() and len(self._queue):
            self._has_lines.set()
            self._is_empty.clear()

    def reopen(self) -> None:
        """Connect again, and look the server's name up again."""
        self._is_outdated = True
        self._at_once.set()
        self._has_lines.set()

    async def finish(self) -> None:
        """Send what is queued, for `CLOSE_SECONDS` at most, and close the connection."""
        self._at_once.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._is_empty.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._link is not None:
            await self._link.close()
            self._link = None

    def close(self) -> None:
        """End at once; lines that are still queued are lost, and counted."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._drop_link()
        self._queue.drop_all()

    async def _run(self) -> None:
        pause_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                link = await self._usable_link()
                self._queue.works()
                pause_seconds = FIRST_RETRY_SECONDS
                await self._send_all(link)
            except OSError as error:
                self._drop_link()
                self._queue.failed(in_words(error))
                await self._pause(pause_seconds)
                pause_seconds = min(pause_seconds * 2, MAX_RETRY_SECONDS)
            else:
                await self._wait_for_lines()

    async def _usable_link(self) -> Link:
        if self._link is not None and (self._link.is_lost or self._is_outdated):
            self._drop_link()
        self._is_outdated = False
        if self._link is None:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._link = await self._connect()
        return self._link

    async def _send_all(self, link: Link) -> None:
        while len(self._queue) and not self._is_outdated:
            if link.is_lost:
                raise ConnectionResetError
            await link.send(self._queue)
            await asyncio.sleep(0)  # a datagram is sent without waiting: let requests go on between batches

    async def _wait_for_lines(self) -> None:
        if not len(self._queue) and not self._is_outdated:
            self._has_lines.clear()
            self._is_empty.set()
            await self._has_lines.wait()
            if self._queue.queued_bytes < MAX_BATCH_BYTES:
                await self._pause(FLUSH_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._at_once.wait()
        self._at_once.clear()

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.abort()
            self._link = None


def in_words(error: OSError) -> str:
    """A failure for the error log: the system's words, such as "Connection refused", or those of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'reason', None) or error}"
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer in time"
    return error.strerror or (os.strerror(error.errno) if error.errno else "the connection was closed")
