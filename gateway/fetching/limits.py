"""Memory and threads, which all URLs of revocation lists share, with limits so that no server can use up all of them.

Keeps true: all downloads together have a bounded number of bytes, and short downloads are never stopped for that.
Lists are read, checked and stored in a few threads, and long lists don't occupy all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import Final, TypeVar

from gateway.errors import GatewayError

# Some 20,000 entries: read within a tenth of a second.
LONG_BYTES: Final = 1024 * 1024
# Eight of the longest lists at once. Lists up to `LONG_BYTES` may exceed it: at most one for each URL.
MAX_HELD_BYTES: Final = 8 * 16 * 1024 * 1024
# Reading runs in Python code, so more threads are not faster. Two remain for short lists while long ones are read.
THREADS: Final = 4
MAX_LONG_AT_ONCE: Final = 2

_T = TypeVar("_T")


class GivenUpError(GatewayError):
    """A download was stopped because all downloads together have too many bytes."""


class Held:
    """The bytes of one download."""

    __slots__ = ("_memory", "_name", "count", "is_given_up", "is_whole", "limit")

    def __init__(self, memory: Memory, name: str, limit: asyncio.Timeout) -> None:
        self._memory = memory
        self._name = name
        self.limit = limit
        self.count = 0
        self.is_whole = False
        self.is_given_up = False

    def take(self, count: int) -> None:
        """Count bytes that have arrived."""
        self.count += count
        self._memory.make_room()

    def end(self) -> None:
        """Note that the download is complete and must not be stopped. Raises `GivenUpError` if it was stopped."""
        if self.is_given_up:
            raise self.error
        self.is_whole = True

    @property
    def error(self) -> GivenUpError:
        """The error that says why the download was stopped."""
        return GivenUpError(
            f"{self._name}: stopped after {self.count} bytes, because all running downloads together exceed "
            f"{MAX_HELD_BYTES} bytes"
        )


class Memory:
    """The bytes of all downloads. If they are too many, the oldest long download is stopped."""

    def __init__(self) -> None:
        self._held: list[Held] = []  # the oldest first

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Held]:
        """Count one download's bytes; `name` is for messages. Raises `GivenUpError`."""
        async with asyncio.timeout(None) as limit:
            held = Held(self, name, limit)
            self._held.append(held)
            try:
                yield held
            except asyncio.CancelledError:
                if limit.expired():
                    raise held.error from None
                raise
            finally:
                self._held.remove(held)

    def make_room(self) -> None:
        """Stop long downloads until the rest is within the limit."""
        while sum(held.count for held in self._held if not held.is_given_up) > MAX_HELD_BYTES:
            going = (held for held in self._held if not held.is_given_up and not held.is_whole)
            if (long := next((held for held in going if held.count > LONG_BYTES), None)) is None:
                return
            long.is_given_up = True
            long.limit.reschedule(asyncio.get_running_loop().time())


class Threads:
    """The threads in which lists are read, checked and stored."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="list")
        self._long = asyncio.Semaphore(MAX_LONG_AT_ONCE)

    async def run(self, work: Callable[[], _T], length_bytes: int = 0) -> _T:
        """Run `work` in a thread; `length_bytes`: length of the list that it reads."""
        async with self._long if length_bytes > LONG_BYTES else nullcontext():
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Start no further work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
