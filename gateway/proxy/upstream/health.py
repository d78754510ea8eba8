"""Decides which upstream servers get requests: by active checks, and by the results of connecting.

Keeps true: a server that fails its checks gets no requests until it has passed them again. A server that can't be
reached is skipped for a while, if there is another one; then a single request tests whether it is back. If this machine
can't open a socket, that counts against no server.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from gateway import clock
from gateway.config.model import Health
from gateway.proxy.upstream.dial import FAILURES, ExhaustedError
from gateway.proxy.upstream.names import ResolveError

# After this many failures to connect in a row a server is skipped, whatever its checks say …
PASSIVE_FALL: Final = 2
# … for this time; then one request tries it again, and the others skip it for this time.
PASSIVE_SECONDS: Final = 10.0
# Enough for any status line; nothing after it is read.
MAX_STATUS_LINE_BYTES: Final = 1024

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_FIRST_SERVER_ERROR: Final = 500

_log = logging.getLogger("gateway.health")

# Opens a connection to the server: (reader, writer). Raises `FAILURES`, `ssl.SSLError`, `ValueError`, `ResolveError`,
# `ExhaustedError`.
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Condition:
    """The state of one server."""

    __slots__ = ("_failures", "_misses", "_passes", "_until_seconds", "cause", "is_checked", "is_up")

    def __init__(self) -> None:
        self.is_up = True  # by the active checks; True until one fails
        self.is_checked = False
        self.cause: str | None = None  # of the last failure
        self._failures = 0  # checks, in a row
        self._passes = 0
        self._misses = 0  # requests that could not connect, in a row
        self._until_seconds = 0.0  # skipped until then, monotonic, after failures to connect

    def __repr__(self) -> str:
        return f"<Condition {'up' if self.is_up else 'down'}{'' if self.cause is None else ': ' + self.cause}>"

    def may_be_asked(self, now_seconds: float) -> bool:
        """True if the server should get requests."""
        return self.is_up and now_seconds >= self._until_seconds

    def tried(self, now_seconds: float) -> None:
        """A request is about to connect; if that failed before, other requests skip the server meanwhile."""
        if self._misses >= PASSIVE_FALL:
            self._until_seconds = now_seconds + PASSIVE_SECONDS

    def connected(self) -> bool:
        """A request connected; True if that had failed repeatedly before."""
        is_back = self._misses >= PASSIVE_FALL
        self._misses = 0
        self._until_seconds = 0.0
        if not self.is_checked:  # else the checks set it
            self.cause = None
        return is_back

    def unreachable(self, now_seconds: float, cause: str) -> bool:
        """A request could not connect; True if the server is skipped from now on."""
        self.cause = cause
        self._misses += 1
        if self._misses >= PASSIVE_FALL:
            self._until_seconds = now_seconds + PASSIVE_SECONDS
        return self._misses == PASSIVE_FALL

    def checked(self, cause: str | None, health: Health) -> bool:
        """Note the result of an active check (None: good); True if the server went up or down by it."""
        self.is_checked = True
        before = self.is_up
        if cause is None:
            self._failures = 0
            self._passes += 1
            if self._passes >= health.rise:
                if not self.is_up:
                    self.is_up = True
                    self._misses = 0
                    self._until_seconds = 0.0
                if not self._misses:
                    self.cause = None
        else:
            self.cause = cause
            self._passes = 0
            self._failures += 1
            if self._failures >= health.fall:
                self.is_up = False
        return self.is_up is not before


async def check(health: Health, host: str, connect: Open) -> str | None:
    """Check the server that `connect` connects to. None if it answered with a status below 500; else the cause.

    Raises `ExhaustedError` if this machine can't open a socket.
    """
    try:
        async with asyncio.timeout(health.timeout_seconds):
            reader, writer = await connect()
            try:
                writer.write(
                    f"GET {health.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gateway-health\r\n"
                    "Connection: close\r\n\r\n".encode("ascii")
                )
                line = await reader.readuntil(b"\n")
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"no answer within {health.timeout_seconds:g} s"
    except EOFError:
        return "the server closed the connection before it answered"
    except asyncio.LimitOverrunError:
        return f"the answer's first line is longer than {MAX_STATUS_LINE_BYTES} bytes"
    except (*FAILURES, ssl.SSLError, ValueError, ResolveError) as error:
        return str(error) or type(error).__name__
    status = _STATUS_LINE.match(line)
    if status is None:
        return "the answer is not HTTP/1.1"
    return None if int(status[1]) < _FIRST_SERVER_ERROR else f"status {int(status[1])}"


async def watch(url: str, condition: Condition, health: Health, host: str, connect: Open) -> None:
    """Check the server at `url` at intervals, until cancelled."""
    while True:
        started = clock.monotonic_seconds()
        try:
            cause = await check(health, host, connect)
        except ExhaustedError as error:
            _log.warning("%s could not be checked: %s", url, error)
        else:
            if condition.checked(cause, health):
                if cause is None:
                    _log.warning("%s is up again", url)
                else:
                    _log.error("%s is down: %s", url, cause)
        await asyncio.sleep(max(0.0, health.interval_seconds - (clock.monotonic_seconds() - started)))
