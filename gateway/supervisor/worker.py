"""One worker process: a loop, the listening sockets it inherited, and the connections it accepted.

Keeps true: it serves only a whole snapshot; told to stop, it accepts nothing more, lets what is under way
finish for `DRAIN_SECONDS`, and leaves with its log written.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from typing import Final

import uvloop

from gateway.config.model import Listener
from gateway.logs.writer import AccessLogWriter
from gateway.proxy.listener import Front
from gateway.proxy.redirect import RedirectConnection
from gateway.proxy.service import Service
from gateway.proxy.snapshot import Snapshot

# Longer than any ordinary answer; a long poll is cut and made anew by its client.
DRAIN_SECONDS: Final = 30.0

_log = logging.getLogger("gateway.worker")


def serve(
    snapshot: Snapshot, listeners: Sequence[tuple[Listener, socket.socket]], access_log: AccessLogWriter, master: int
) -> None:
    """Serve until SIGTERM, or until the master is gone. `master`: the read end of a pipe that it holds open."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(snapshot, listeners, access_log, master))
    finally:
        access_log.close()
        loop.close()


async def _serve(
    snapshot: Snapshot, listeners: Sequence[tuple[Listener, socket.socket]], access_log: AccessLogWriter, master: int
) -> None:
    loop = asyncio.get_running_loop()
    access_log.start(loop)
    service = Service(snapshot, access_log, loop)
    service.start()
    stopping, empty = asyncio.Event(), asyncio.Event()
    service.on_empty = empty.set
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, access_log.reopen)
    loop.add_reader(master, stopping.set)  # end of file: nobody is left to look after this process
    servers = [
        await loop.create_server(_factory(service, listener), sock=listening) for listener, listening in listeners
    ]
    await stopping.wait()
    loop.remove_reader(master)
    for server in servers:
        server.close()
    service.drain()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await empty.wait()
    except TimeoutError:
        _log.warning("%d connections were still open after %g s and are cut", len(service.connections), DRAIN_SECONDS)
    service.stop()


def _factory(service: Service, listener: Listener):  # type: ignore[no-untyped-def] # noqa: ANN202
    if listener.redirect_to_https:
        return lambda: RedirectConnection(service, listener)
    return lambda: Front(service, listener)
