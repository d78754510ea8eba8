"""The fetcher as a process: what it hears from the master, and when it ends."""

import asyncio
import os
import signal
import socket
from pathlib import Path

from support.pki import Ca
from support.waiting import PATIENCE_SECONDS
from support.web import WebServer

from gateway.fetching.list_store import ListStore
from gateway.fetching.plan import to_message
from gateway.supervisor.helpers import fetcher_process
from gateway.supervisor.processes.channel import Channel

ROOT = Ca.make()


def converse(dialogue):
    """The process's loop, with a channel's end as its master."""
    ours, theirs = Channel.pair()

    async def both():
        serving = asyncio.ensure_future(fetcher_process.serve(theirs))
        await dialogue(ours)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await serving

    asyncio.run(both())
    ours.close()
    theirs.close()


async def eventually(holds):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - of what other threads do
            await asyncio.sleep(0.01)


def test_it_fetches_what_it_is_told_and_at_once_when_it_is_asked(tmp_path):
    store = ListStore(tmp_path / "crl", tmp_path / "fallback")
    with WebServer() as web:

        def asked(path):
            return sum(seen.path == path for seen in web.requests)

        async def dialogue(master):
            def follow(*paths):
                plan = {web.url(path): (ROOT.certificate,) for path in paths}
                master.send({"do": "fetch", "plan": to_message(plan, store)})

            master.send({"do": "something else"})
            follow("/a", "/b")
            await eventually(lambda: asked("/a") and asked("/b"))
            follow("/b", "/c")
            await eventually(lambda: asked("/c"))
            master.send({"do": "fetch now"})
            await eventually(lambda: asked("/b") == 2 and asked("/c") == 2)
            assert asked("/a") == 1
            os.kill(os.getpid(), signal.SIGTERM)

        converse(dialogue)


def test_it_ends_with_its_master():
    async def dialogue(master):
        master.close()

    converse(dialogue)


def test_the_program_serves_its_channel(monkeypatch):
    ours, theirs = socket.socketpair()
    served = []
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: None)  # this test's own name stays
    monkeypatch.setattr(fetcher_process, "forbid_reading", lambda: None)
    monkeypatch.setattr(fetcher_process.sys, "argv", ["fetcher", str(theirs.detach())])

    async def serve(channel):
        served.append(channel.fileno())
        channel.close()

    monkeypatch.setattr(fetcher_process, "serve", serve)
    fetcher_process.main()
    ours.close()
    assert len(served) == 1
