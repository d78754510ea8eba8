"""Names are looked up in a thread for each."""

import asyncio
import socket
import threading

import pytest
from support.waiting import PATIENCE_SECONDS, until

from gateway import name_lookup as module
from gateway.name_lookup import ThreadPerNameResolver


@pytest.fixture
def silent(monkeypatch):
    """A name server that says nothing of names with "silent" in them until it is told to go on."""
    goes_on, real = threading.Event(), socket.getaddrinfo
    asked = []

    def look_up(host, *more, **options):
        asked.append(host)
        if "silent" in host:
            goes_on.wait(PATIENCE_SECONDS)
            host = "localhost"
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    look_up.goes_on, look_up.asked = goes_on, asked
    yield look_up
    goes_on.set()
    until(lambda: not any(thread.name.startswith("look up") for thread in threading.enumerate()), "the threads end")


def test_an_address_is_found_as_a_server_is_connected():
    async def main():
        resolver = ThreadPerNameResolver()
        (first, *_), (again, *_) = [await resolver.resolve("localhost", 80) for _ in range(2)]
        await resolver.close()
        return first, again

    first, again = asyncio.run(main())
    assert (first["hostname"], first["host"], first["port"]) == ("localhost", "127.0.0.1", 80)
    assert first == again


def test_a_name_that_there_is_not_is_the_askers_failure(monkeypatch):
    def no_name(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    with pytest.raises(OSError, match=r"nowhere\.example can't be resolved: .*Name or service not known"):
        asyncio.run(ThreadPerNameResolver().resolve("nowhere.example"))


def test_silent_servers_hold_up_no_other_name(silent, monkeypatch):
    monkeypatch.setattr(module, "MAX_NAMES_AT_ONCE", 20)

    async def main():
        resolver = ThreadPerNameResolver()
        waiting = [asyncio.ensure_future(resolver.resolve(f"silent-{number}")) for number in range(19)]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            assert await resolver.resolve("localhost")
            waiting.append(asyncio.ensure_future(resolver.resolve("silent-19")))
            await asyncio.sleep(0)
            with pytest.raises(OSError, match="20 names are already being looked up, so localhost is not"):
                await resolver.resolve("localhost")
        silent.goes_on.set()
        assert all(await asyncio.gather(*waiting))
        assert await resolver.resolve("localhost")

    asyncio.run(main())


def test_a_question_is_asked_once_at_a_time_and_may_outlive_its_asker(silent):
    async def main():
        resolver = ThreadPerNameResolver()
        first, second = (asyncio.ensure_future(resolver.resolve("silent")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        silent.goes_on.set()
        assert await second
        silent.goes_on.clear()
        third = asyncio.ensure_future(resolver.resolve("silent"))
        await asyncio.sleep(0)
        third.cancel()

    asyncio.run(main())  # the last answer comes when the loop has ended
    assert silent.asked == ["silent", "silent"]
