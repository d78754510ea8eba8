"""Which upstream servers are asked: active checks, and what connecting to them has taught.

Keeps true: a server that fails its checks gets no request until it has passed them again; one that could not be
reached is passed over for a while, as long as there is another, and then one request alone finds out whether it is
back. That we had no socket to ask with counts against no server.
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
from gateway.proxy.dial import FAILURES, ExhaustedError
from gateway.proxy.names import ResolveError

# After so many failures to connect in a row a server is passed over, whatever its checks have said …
PASSIVE_FALL: Final = 2
# … for this long; then the next request tries it again, and the others wait as long for what becomes of it.
PASSIVE_SECONDS: Final = 10.0
# Enough for any status line; nothing behind it is read.
MAX_STATUS_LINE_BYTES: Final = 1024

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_FIRST_SERVER_ERROR: Final = 500

_log = logging.getLogger("gateway.health")

# Opens a connection to the server: (reader, writer). Raises `FAILURES`, `ssl.SSLError`, `ValueError`, `ResolveError`,
# `ExhaustedError`.
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Condition:
    """What is known of one server."""

    __slots__ = ("_failures", "_misses", "_passes", "_until_seconds", "cause", "is_checked", "is_up")

    def __init__(self) -> None:
        self.is_up = True  # by the active checks; until the first fails, a server is believed in
        self.is_checked = False
        self.cause: str | None = None  # of the last failure
        self._failures = 0  # checks, in a row
        self._passes = 0
        self._misses = 0  # requests that could not connect, in a row
        self._until_seconds = 0.0  # passed over until then, monotonic; by what connecting has taught

    def __repr__(self) -> str:
        return f"<Condition {'up' if self.is_up else 'down'}{'' if self.cause is None else ': ' + self.cause}>"

    def may_be_asked(self, now_seconds: float) -> bool:
        """True for a server that should get requests."""
        return self.is_up and now_seconds >= self._until_seconds

    def tried(self, now_seconds: float) -> None:
        """A request is about to connect: where that kept failing, the others wait for how this one fares."""
        if self._misses >= PASSIVE_FALL:
            self._until_seconds = now_seconds + PASSIVE_SECONDS

    def connected(self) -> bool:
        """A connection for a request was made; True where that had kept failing."""
        is_back = self._misses >= PASSIVE_FALL
        self._misses = 0
        self._until_seconds = 0.0
        if not self.is_checked:  # else the checks will say
            self.cause = None
        return is_back

    def unreachable(self, now_seconds: float, cause: str) -> bool:
        """A connection for a request could not be made; True where the server is passed over from now on."""
        self.cause = cause
        self._misses += 1
        if self._misses >= PASSIVE_FALL:
            self._until_seconds = now_seconds + PASSIVE_SECONDS
        return self._misses == PASSIVE_FALL

    def checked(self, cause: str | None, health: Health) -> bool:
        """Note the outcome of an active check, None for a good one; True where the server went up or down by it."""
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
    """Ask the server that `connect` leads to once. None where it answered, with anything below 500; else why not.

    Raises `ExhaustedError` where it could not be asked.
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
    """Check the server at `url` again and again, until cancelled."""
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
