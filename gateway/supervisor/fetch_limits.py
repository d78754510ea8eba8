"""What the URLs of revocation lists share: memory and threads. No server can take another one's part.

Keeps true: all downloads together hold a bounded number of bytes, and a short one is never given up for that.
Lists are read, checked and stored in a few threads, and long ones don't take all of them.
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
# Eight of the longest lists at once. Lists up to `LONG_BYTES` come on top: at most as many as there are URLs.
MAX_HELD_BYTES: Final = 8 * 16 * 1024 * 1024
# Reading is work in Python, so more threads are not faster. Two are left for short lists while long ones are read.
THREADS: Final = 4
MAX_LONG_AT_ONCE: Final = 2

_T = TypeVar("_T")


class GivenUpError(GatewayError):
    """A download was ended for the others' sake."""


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
        """More bytes have come."""
        self.count += count
        self._memory.make_room()

    def end(self) -> None:
        """All bytes have come: from now on it is not given up any more. Raises `GivenUpError` where it was."""
        if self.is_given_up:
            raise self.error
        self.is_whole = True

    @property
    def error(self) -> GivenUpError:
        """What to tell the administrator."""
        return GivenUpError(
            f"{self._name}: given up at {self.count} bytes, since all lists that are being fetched have more than"
            f" {MAX_HELD_BYTES}"
        )


class Memory:
    """The bytes of all downloads. Where they are too many, the long one that began first is given up."""

    def __init__(self) -> None:
        self._held: list[Held] = []  # the oldest first

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Held]:
        """For one download, `name` for messages. Raises `GivenUpError`."""
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
        """Give up what is too much."""
        while sum(held.count for held in self._held if not held.is_given_up) > MAX_HELD_BYTES:
            going = (held for held in self._held if not held.is_given_up and not held.is_whole)
            if (long := next((held for held in going if held.count > LONG_BYTES), None)) is None:
                return
            long.is_given_up = True
            long.limit.reschedule(asyncio.get_running_loop().time())


class Threads:
    """Where lists are read, checked and stored."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="list")
        self._long = asyncio.Semaphore(MAX_LONG_AT_ONCE)

    async def run(self, work: Callable[[], _T], length_bytes: int = 0) -> _T:
        """Do it in a thread; `length_bytes`: of the list that is read."""
        async with self._long if length_bytes > LONG_BYTES else nullcontext():
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
