"""What URLs share: memory that the longest give up, and threads that long lists don't take."""

import asyncio
import threading

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway.fetching import limits as module
from gateway.fetching.limits import GivenUpError, Memory, Threads


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 100)
    monkeypatch.setattr(module, "LONG_BYTES", 10)


async def download(memory, url, *counts):
    """Takes bytes, a part each turn, and then waits."""
    async with memory.hold(url) as held:
        for count in counts:
            held.take(count)
            await asyncio.sleep(0)
        await asyncio.Event().wait()


async def whole(memory, url, count):
    """Has all its bytes at once, and waits for a thread."""
    async with memory.hold(url) as held:
        held.take(count)
        held.end()
        await asyncio.Event().wait()


async def ends_too_late(memory, url, count):
    async with memory.hold(url) as held:
        held.take(count)
        while not held.is_given_up:  # noqa: ASYNC110 - it is about what happens within one turn
            await asyncio.sleep(0)
        held.end()


async def outcomes(*downloads):
    """Of those that have ended; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in downloads]
    for _ in range(20):
        await asyncio.sleep(0)
    found = [
        (type(task.exception()).__name__ if task.exception() else task.result()) if task.done() else "goes on"
        for task in tasks
    ]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


def test_up_to_the_limit_all_go_on_and_one_byte_more_ends_the_long_one_that_began_first():
    def three(last):
        memory = Memory()
        return outcomes(download(memory, "a", 10), download(memory, "b", 50), download(memory, "c", last))

    assert asyncio.run(three(40)) == ["goes on"] * 3
    assert asyncio.run(three(41)) == ["goes on", "GivenUpError", "goes on"]


def test_what_is_given_up_makes_room_and_says_why():
    async def main():
        memory = Memory()
        with pytest.raises(GivenUpError, match=r"^a: stopped after 101 bytes, because .* exceed 100 bytes$"):
            await download(memory, "a", 101)
        assert await outcomes(download(memory, "b", 100)) == ["goes on"]

    asyncio.run(main())


def test_a_download_that_is_whole_is_not_given_up_and_one_that_was_is_not_whole():
    async def main():
        memory = Memory()
        known = [whole(memory, name, 50) for name in "ab"]
        found = await outcomes(*known, download(memory, "c", 10), download(memory, "d", 11))
        assert found == ["goes on", "goes on", "goes on", "GivenUpError"]
        found = await outcomes(ends_too_late(memory, "e", 50), download(memory, "f", 60))
        assert found == ["GivenUpError", "goes on"]

    asyncio.run(main())


def test_an_end_from_outside_stays_one():
    async def main():
        task = asyncio.ensure_future(download(Memory(), "a", 5))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_long_lists_leave_threads_for_short_ones():
    goes_on = threading.Event()

    async def main():
        threads = Threads()
        long = [
            asyncio.ensure_future(threads.run(lambda: goes_on.wait(PATIENCE_SECONDS), module.LONG_BYTES + 1))
            for _ in range(10)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            assert await threads.run(lambda: "short", module.LONG_BYTES) == "short"
        goes_on.set()
        assert await asyncio.gather(*long) == [True] * 10
        threads.close()

    asyncio.run(main())
