"""One worker process: a loop, the listening sockets it inherited, and the connections it accepted.

Keeps true: it serves only a whole snapshot; told to stop, it accepts nothing more, lets what is under way
finish for `DRAIN_SECONDS`, and leaves with its log written. Without a master it stops by itself.
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

from gateway import clock, tasks
from gateway.config.model import Listener
from gateway.errors import GatewayError
from gateway.logs.writer import AccessLogWriter
from gateway.policy.networks import NetworkSet
from gateway.proxy.listener import Front
from gateway.proxy.peers import BalancedConnection
from gateway.proxy.publication import PublicationConnection
from gateway.proxy.publisher import Publisher
from gateway.proxy.redirect import RedirectConnection
from gateway.proxy.service import Service
from gateway.proxy.tally import Tally
from gateway.supervisor import dumps, open_files
from gateway.supervisor.channel import Channel, Message
from gateway.supervisor.link import Link
from gateway.supervisor.loop import WorkerLoop
from gateway.supervisor.reload import Revision, read_revision

# Longer than any ordinary answer; a long poll is cut and made anew by its client.
DRAIN_SECONDS: Final = 30.0
# What the master could read and this worker couldn't (it may have had no free descriptor) is tried again, ever later: a
# revocation must not wait for the next one. The first two tries of a flood that ends soon cost little.
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0

_log = logging.getLogger("gateway.worker")
_Source = tuple[bytes, dict[str, str]]  # the YAML, and the variables that it names
Listening = Sequence[tuple[Listener, socket.socket]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What this worker has in common with others."""

    tally: Tally | None = None  # what all workers count together
    publisher: Path | None = None  # the publisher's socket


def serve(
    revision: Revision, listening: Listening, access_log: AccessLogWriter, master: Channel, shared: Shared | None = None
) -> None:
    """Serve until SIGTERM, or until the master is gone."""
    dumps.forbid_reading()
    loop = WorkerLoop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(Worker(loop, revision, access_log, master, shared or Shared()).run(listening))
    finally:
        access_log.close()
        loop.close()


class Worker:
    """The process, seen from inside."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        revision: Revision,
        access_log: AccessLogWriter,
        master: Channel,
        shared: Shared,
    ) -> None:
        self._loop = loop
        self._revision = revision
        self._access_log = access_log
        self._service = Service(revision.snapshot, access_log, loop, shared.tally)
        if shared.publisher is not None:
            self._service.publisher = Publisher(shared.publisher)
        self._stopping = asyncio.Event()
        self._master = Link(master, loop, self._obey, self._stopping.set)
        self._reload: asyncio.Task[None] | None = None
        self._next_source: _Source | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._started = clock.unix_seconds()

    async def run(self, listening: Listening) -> None:
        """Serve until told to stop."""
        loop, service = self._loop, self._service
        self._access_log.start(loop)
        service.start()
        empty = asyncio.Event()
        service.on_empty = empty.set
        service.on_failures = lambda failures: self._master.send({"is": "failures", "counts": failures})
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, self._access_log.reopen)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the master's business
        servers = [await loop.create_server(self._factory(each), sock=its_socket) for each, its_socket in listening]
        await self._stopping.wait()
        for server in servers:
            server.close()
        service.drain()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await empty.wait()
        except TimeoutError:
            _log.warning(
                "%d connections were still open after %g s and are cut", len(service.connections), DRAIN_SECONDS
            )
            service.cut()
            await empty.wait()
        service.stop()
        await service.statuses.close()
        self._master.close()

    def _factory(self, listener: Listener) -> Callable[[], asyncio.Protocol]:
        service = self._service
        make: type[Front | RedirectConnection] = Front
        if listener.pki:
            make = PublicationConnection
        elif listener.redirect_to_https:
            make = RedirectConnection
        if listener.proxy_protocol_from:
            balancers = NetworkSet(listener.proxy_protocol_from)
            return lambda: BalancedConnection(service, listener, balancers, lambda: make(service, listener))
        return lambda: make(service, listener)

    # what the master says

    def _obey(self, message: Message) -> None:
        match message:
            case {"do": "reload", "source": str(source), "variables": dict(variables)}:
                self._begin_reload((source.encode("utf-8", "surrogateescape"), variables))
            case {"do": "ban", "bans": dict(bans)}:
                self._service.bans = bans
            case {"do": "ping"}:
                self._master.send({"is": "pong"})
            case {"do": "status"}:
                self._master.send({"is": "status", **self._status()})
            case _:
                _log.error("the master said %r, which means nothing here", message)

    def _begin_reload(self, source: _Source) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._next_source = source
        if self._reload is None:
            self._reload = tasks.spawn(self._reload_all(), name="reload")

    async def _reload_all(self) -> None:
        """Reload until nothing newer was asked for. Reading files happens beside the loop, the swap in it."""
        while (source := self._next_source) is not None:
            self._next_source = None
            error = None
            revision = self._revision
            try:
                revision = await self._loop.run_in_executor(
                    None, read_revision, revision.config.path, source[0], revision.snapshot, revision.lists, source[1]
                )
                self._service.adopt(revision.snapshot)
                self._revision = revision
            except GatewayError as found:
                error = found.cause
                _log.error("the worker %d keeps its old configuration: %s", os.getpid(), error)
            except Exception as found:  # noqa: BLE001 - the next reload must find somebody who listens
                error = f"{type(found).__name__}: {found}"
                _log.exception("the worker %d keeps its old configuration", os.getpid())
            self._master.send({"is": "reloaded", "error": error})
            if error is None:
                self._retry_seconds = FIRST_RETRY_SECONDS
            elif self._next_source is None:
                self._retry = self._loop.call_later(self._retry_seconds, self._begin_reload, source)
                self._retry_seconds = min(MAX_RETRY_SECONDS, 2 * self._retry_seconds)
        self._reload = None

    def _status(self) -> Message:
        return {
            "pid": os.getpid(),
            "started": self._started,
            "tasks": len(asyncio.all_tasks(self._loop)),
            "open_files": open_files.count(),
            "open_files_limit": open_files.limit(),
            **self._service.status(),
        }
