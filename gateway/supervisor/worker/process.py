"""One worker process: a loop, the listening sockets it inherited, and the connections it accepted.

Keeps true: it serves only a complete snapshot. When it stops, it accepts no more connections, lets requests finish for
`DRAIN_SECONDS`, and writes its log before it ends. It also stops if the master has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import clock
from gateway.config.model import Listener
from gateway.logs.output import AccessLogOutput
from gateway.policy.networks import NetworkSet
from gateway.proxy.balanced import BalancedConnection
from gateway.proxy.client.accepting import AcceptedConnection
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.proxy.plain.acme_webroot import ChallengeReader
from gateway.proxy.plain.connection import PlainConnection
from gateway.proxy.plain.publisher_client import PublisherClient
from gateway.proxy.plain.responders import responders_of
from gateway.proxy.service import Service
from gateway.supervisor.processes import dumps, open_files
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.reload.revision import Revision
from gateway.supervisor.worker.loop import WorkerLoop
from gateway.supervisor.worker.updates import WorkerUpdates

# Longer than any ordinary answer; a long poll is cut, and its client sends it again.
DRAIN_SECONDS: Final = 30.0

_log = logging.getLogger("gateway.worker")
Listening = Sequence[tuple[Listener, socket.socket]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What this worker shares with the others."""

    connection_counts: SharedCounts | None = None  # counters of all workers
    publisher: Path | None = None  # the publisher's socket


def serve(
    revision: Revision, listening: Listening, access_log: AccessLogOutput, master: Channel, shared: Shared | None = None
) -> None:
    """Serve until SIGTERM, or until the master has ended."""
    dumps.forbid_reading()
    loop = WorkerLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(Worker(loop, revision, access_log, master, shared or Shared()).run(listening))
    finally:
        access_log.close()
        loop.close()


class Worker:
    """The worker process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        revision: Revision,
        access_log: AccessLogOutput,
        master: Channel,
        shared: Shared,
    ) -> None:
        self._loop = loop
        self._access_log = access_log
        self._service = Service(revision.snapshot, access_log, loop, shared.connection_counts)
        self._challenges = ChallengeReader(loop)
        self._publisher = None if shared.publisher is None else PublisherClient(shared.publisher)
        self._stopping = asyncio.Event()
        self._master = AsyncChannel(master, loop, self._obey, self._stopping.set)
        self._updates = WorkerUpdates(revision, self._service, loop, self._master.send)
        self._started = clock.unix_seconds()

    async def run(self, listening: Listening) -> None:
        """Serve until SIGTERM, or until the master has ended."""
        loop, service = self._loop, self._service
        self._access_log.start(loop)
        service.start()
        empty = asyncio.Event()
        service.connections.on_empty = empty.set
        service.lockout.on_failures = lambda failures: self._master.send({"is": "failures", "counts": failures})
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, self._access_log.reopen)
        if not self._access_log.is_current:  # the signal came before its handler
            self._access_log.reopen()
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # only the master handles it
        servers = [await loop.create_server(self._factory(each), sock=its_socket) for each, its_socket in listening]
        await self._stopping.wait()
        for server in servers:
            server.close()
        service.connections.drain()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await empty.wait()
        except TimeoutError:
            _log.warning(
                "%d connections were still open after %g s and are cut", len(service.connections.open), DRAIN_SECONDS
            )
            service.connections.cut()
            await empty.wait()
        service.stop()
        await service.statuses.close()
        await self._access_log.finish()
        self._master.close()

    def _factory(self, listener: Listener) -> Callable[[], asyncio.Protocol]:
        service = self._service
        responders = responders_of(listener, self._challenges, self._publisher)

        def make() -> AcceptedConnection | PlainConnection:
            if responders:
                return PlainConnection(service, listener, responders)
            return AcceptedConnection(service, listener)

        if listener.proxy_protocol_from:
            balancers = NetworkSet(listener.proxy_protocol_from)
            return lambda: BalancedConnection(service, listener, balancers, make)
        return make

    # messages of the master

    def _obey(self, message: Message) -> None:
        match message:
            case {"do": "reload"}:
                self._updates.begin_reload(message)
            case {"do": "list"}:
                self._updates.add_list(message)
            case {"do": "lists"}:
                self._updates.finish_lists(message)
            case {"do": "ban", "bans": dict(bans)}:
                self._service.lockout.bans = bans
            case {"do": "status"}:
                self._master.send({"is": "status", **self._status()})
            case _:
                _log.error("the master sent %r, which a worker can't process", message)

    def _status(self) -> Message:
        return {
            "pid": os.getpid(),
            "started": self._started,
            "tasks": len(asyncio.all_tasks(self._loop)),
            "open_files": open_files.count(),
            "open_files_limit": open_files.limit(),
            **self._service.status(),
        }
