"""Names are looked up in a thread of the asker's own."""

import asyncio
import socket
import threading

import pytest
from support.waiting import PATIENCE_SECONDS, until

from gateway.supervisor.name_lookup import OwnThreadResolver


def test_an_address_is_found_as_a_server_is_connected():
    async def main():
        resolver = OwnThreadResolver()
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
    with pytest.raises(OSError, match="Name or service not known"):
        asyncio.run(OwnThreadResolver().resolve("nowhere.example"))


def test_one_question_waits_at_a_time_and_none_outlives_its_asker(monkeypatch):
    goes_on, ended, asked = threading.Event(), threading.Event(), []

    def silent(host, *_, **__):
        asked.append(host)
        goes_on.wait(PATIENCE_SECONDS)
        ended.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    resolver = OwnThreadResolver()

    async def main():
        first = asyncio.ensure_future(resolver.resolve("a.example"))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(OSError, match=r"has not answered yet what the address of b\.example is"):
            await resolver.resolve("b.example")

    asyncio.run(main())
    assert asked == ["a.example"]
    goes_on.set()  # the answer comes when its loop has ended
    assert ended.wait(PATIENCE_SECONDS)
    until(lambda: not any("example" in thread.name for thread in threading.enumerate()), "the thread ends")
