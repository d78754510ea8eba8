"""How a worker takes up another configuration, and other revocation lists, while it serves.

Keeps true: the two don't wait for each other, except that a configuration waits for the lists that it needs; both are
read in a thread and taken into use in the loop; older lists never replace newer ones. Failures are sent to the master.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from gateway import tasks
from gateway.errors import GatewayError
from gateway.proxy.service import Service
from gateway.supervisor.processes.channel import Message
from gateway.supervisor.reload.build_snapshot import with_lists
from gateway.supervisor.reload.revision import Revision, read_with_known_lists
from gateway.supervisor.revocation_lists.receiver import ListReceiver, read_all

# A worker may fail to read what the master could read, because it has no free descriptor for example. It tries again,
# after a longer pause each time.
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0

_Made = TypeVar("_Made")

_log = logging.getLogger("gateway.worker")


@dataclass(frozen=True, slots=True)
class _Configuration:
    """A configuration that the master has read."""

    source: bytes  # the YAML file
    variables: Mapping[str, str]  # environment variables that the file uses
    generation: int  # of the lists that it needs


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A complete delivery of lists."""

    number: int
    generation: int
    data: dict[str, tuple[bytes, ...]]


class WorkerUpdates:
    """Takes up the configurations and lists that the master sends."""

    def __init__(
        self, revision: Revision, service: Service, loop: asyncio.AbstractEventLoop, tell: Callable[[Message], None]
    ) -> None:
        self._path = revision.config.path
        self._known = revision.lists.known()
        self._generation = revision.lists.generation
        self._service = service
        self._loop = loop
        self._tell = tell
        self._receiver = ListReceiver()
        self._reload: asyncio.Task[None] | None = None
        self._next: _Configuration | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._update: asyncio.Task[None] | None = None
        self._next_delivery: _Delivery | None = None

    # configurations

    def begin_reload(self, message: Message) -> None:
        """Take up another configuration, as soon as the lists that it needs have arrived."""
        source = message["source"].encode("utf-8", "surrogateescape")
        self._reload_to(_Configuration(source, message["variables"], message["lists"]))

    def _reload_to(self, asked: _Configuration) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._next = asked
        self._go_on()

    def _go_on(self) -> None:
        is_due = self._next is not None and self._next.generation <= self._generation
        if self._reload is None and is_due:
            self._reload = tasks.spawn(self._reload_all(), name="reload")

    async def _reload_all(self) -> None:
        """Reload until there is no newer configuration, or lists for it are missing."""
        while (asked := self._next) is not None and asked.generation <= self._generation:
            self._next = None
            error = await self._attempt(self._take_configuration(asked), "configuration")
            self._tell({"is": "reloaded", "error": error})
            if error is None:
                self._retry_seconds = FIRST_RETRY_SECONDS
            elif self._next is None:
                self._retry = self._loop.call_later(self._retry_seconds, self._reload_to, asked)
                self._retry_seconds = min(MAX_RETRY_SECONDS, 2 * self._retry_seconds)
        self._reload = None

    async def _take_configuration(self, asked: _Configuration) -> None:
        known = self._known
        before = self._service.snapshot
        read = partial(read_with_known_lists, self._path, asked.source, asked.variables, known, before)
        snapshot = await self._beside(read)
        while known is not self._known:  # lists have arrived meanwhile
            known = self._known
            snapshot = await self._beside(partial(with_lists, snapshot, known))
        self._service.adopt(snapshot)
        named = {source for site in snapshot.config.sites for source in site.crl}
        self._known = {source: lists for source, lists in known.items() if source in named}

    # revocation lists

    def add_list(self, message: Message) -> None:
        """Take a piece of a list, and confirm it to the master, which then sends the next one."""
        delivery, piece = message["delivery"], message["piece"]
        try:
            self._receiver.add(delivery, piece, (message["source"], message["part"]), message["data"])
        except GatewayError as error:
            self._tell_lists(delivery, error.cause)
        else:
            self._tell({"is": "list", "delivery": delivery, "piece": piece})

    def finish_lists(self, message: Message) -> None:
        """Take the end of a delivery, and take up its lists."""
        delivery = message["delivery"]
        try:
            data = self._receiver.finish(delivery, message["pieces"], message["parts"])
        except GatewayError as error:
            self._tell_lists(delivery, error.cause)
            return
        self._next_delivery = _Delivery(delivery, message["generation"], data)
        if self._update is None:
            self._update = tasks.spawn(self._update_all(), name="revocation lists")

    async def _update_all(self) -> None:
        while (delivery := self._next_delivery) is not None:
            self._next_delivery = None
            self._tell_lists(delivery.number, await self._attempt(self._take_lists(delivery), "revocation lists"))
        self._update = None
        self._go_on()

    async def _take_lists(self, delivery: _Delivery) -> None:
        known = self._known | await self._beside(partial(read_all, delivery.data))
        while True:
            before = self._service.snapshot
            snapshot = await self._beside(partial(with_lists, before, known))
            if self._service.snapshot is before:  # otherwise another configuration was taken up meanwhile
                break
        self._known, self._generation = known, delivery.generation
        if snapshot is not before:
            self._service.adopt_lists(snapshot)

    def _tell_lists(self, delivery: int, error: str | None) -> None:
        self._tell({"is": "lists", "delivery": delivery, "error": error})

    # both

    async def _beside(self, work: Callable[[], _Made]) -> _Made:
        """Run `work` in a thread, while the loop serves."""
        return await self._loop.run_in_executor(None, work)

    async def _attempt(self, work: Coroutine[Any, Any, None], what: str) -> str | None:
        """Why `work` failed; None if it succeeded."""
        try:
            await work
        except GatewayError as found:
            _log.error("the worker %d keeps its old %s: %s", os.getpid(), what, found.cause)
            return found.cause
        except asyncio.CancelledError:
            raise
        except BaseException as found:  # noqa: BLE001 - also a panic in a Rust parser: later updates must still work
            _log.exception("the worker %d keeps its old %s", os.getpid(), what)
            return f"{type(found).__name__}: {found}"
        return None
