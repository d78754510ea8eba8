"""Sends revocation lists from the master to the workers.

Keeps true: each worker gets the lists that it lacks in pieces, one at a time, so that messages don't pile up and the
master never waits. If a worker can't take up the lists, they are sent again. A worker that is behind for
`MAX_BEHIND_SECONDS` is replaced, and the new one has the newest lists from the start.
"""

from __future__ import annotations

import logging
import os
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway import clock
from gateway.supervisor.processes.channel import Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.revocation_lists.current import ListSet

# In base64 a piece fits into a socket's buffer, and takes less than a millisecond of a worker's loop. A list of 100,000
# certificates has forty pieces.
PIECE_BYTES: Final = 128 * 1024
# The wait after a worker could not take up lists, doubled each time. The cause, low memory perhaps, may be over soon.
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 15.0
# The largest lists take seconds to send and to read. A worker that has not taken them up after so long may let in a
# revoked certificate.
MAX_BEHIND_SECONDS: Final = 60.0
# At most this much of the time between two calls of `tick` counts: if the master was delayed itself, the workers'
# answers are waiting to be read.
MAX_STEP_SECONDS: Final = 1.0

_log = logging.getLogger("gateway.master")


@dataclass(slots=True, eq=False)
class Recipient:
    """Which lists a worker has, and which are being sent to it."""

    generation: int  # of the lists that it has taken up
    behind_seconds: float = 0.0  # how long newer lists have existed
    error: str | None = None  # why it could not take up the newest
    delivery: int = 0  # the number of the newest delivery; answers to others are ignored
    target: int = 0  # the generation that is being sent
    messages: Iterator[Message] | None = None  # the messages left to send; None: no delivery is being sent
    wait_seconds: float = 0.0  # before the next delivery
    retry_seconds: float = FIRST_RETRY_SECONDS


class ListSender:
    """The deliveries to all workers."""

    def __init__(self, children: Children, workers: Role, lists: Callable[[], ListSet]) -> None:
        """`lists` returns the lists that count now."""
        self._children = children
        self._workers = workers
        self._lists = lists
        self._recipients: dict[int, Recipient] = {}  # by process id
        self._looked_seconds = clock.monotonic_seconds()

    def started(self, worker: Child) -> None:
        """Note a new worker, which has the newest lists because it is a fork of the master."""
        self._recipients[worker.pid] = Recipient(self._lists().generation)

    def of(self, worker: Child) -> Recipient:
        """Which lists a worker has."""
        return self._recipients.get(worker.pid) or Recipient(0)

    @property
    def behind(self) -> int:
        """How many workers don't have the newest lists."""
        return sum(each.generation < self._lists().generation for each in self._recipients.values())

    def tick(self) -> None:
        """Send new lists, retry failed deliveries, and end the workers that are behind for too long."""
        now, newest = clock.monotonic_seconds(), self._lists().generation
        step, self._looked_seconds = min(now - self._looked_seconds, MAX_STEP_SECONDS), now
        running = self._children.of(self._workers)
        self._recipients = {worker.pid: self.of(worker) for worker in running}
        for worker in running:
            recipient = self.of(worker)
            if recipient.generation >= newest:
                continue
            recipient.behind_seconds += step
            recipient.wait_seconds -= step
            if recipient.behind_seconds >= MAX_BEHIND_SECONDS:
                _log.error(
                    *("worker %d has not taken up the revocation lists for %.0f s and is replaced (%s)", worker.pid),
                    *(recipient.behind_seconds, recipient.error or "it has not said why"),
                )
                recipient.behind_seconds = 0.0
                os.kill(worker.pid, signal.SIGKILL)
            elif recipient.messages is None and recipient.wait_seconds <= 0:
                self._begin(worker, recipient)

    def hear(self, worker: Child, message: Message) -> None:
        """Take a worker's answer to a piece or to a delivery."""
        recipient = self.of(worker)
        if message.get("delivery") != recipient.delivery or recipient.messages is None:
            return
        match message:
            case {"is": "list"}:
                self._go_on(worker, recipient)
            case {"is": "lists", "error": None}:
                recipient.generation, recipient.messages, recipient.error = recipient.target, None, None
                recipient.behind_seconds, recipient.retry_seconds = 0.0, FIRST_RETRY_SECONDS
                if recipient.generation < self._lists().generation:
                    self._begin(worker, recipient)
            case {"is": "lists", "error": error}:
                recipient.messages, recipient.error = None, str(error)
                recipient.wait_seconds = recipient.retry_seconds
                recipient.retry_seconds = min(MAX_RETRY_SECONDS, 2 * recipient.retry_seconds)

    def _begin(self, worker: Child, recipient: Recipient) -> None:
        lists = self._lists()
        recipient.delivery += 1
        recipient.target = lists.generation
        recipient.messages = messages_of(lists, recipient.generation, recipient.delivery)
        self._go_on(worker, recipient)

    def _go_on(self, worker: Child, recipient: Recipient) -> None:
        if recipient.messages is not None and (message := next(recipient.messages, None)) is not None:
            self._children.send(worker, message)  # if that fails, the worker stays behind and is ended for that


def messages_of(lists: ListSet, since: int, delivery: int) -> Iterator[Message]:
    """The messages of a delivery to a worker that has the lists up to the generation `since`."""
    changed = {source: entry for source, entry in lists.entries.items() if entry.generation > since}
    pieces = 0
    for source, entry in changed.items():
        for number, part in enumerate(entry.parts):
            for start in range(0, len(part.data), PIECE_BYTES):
                data = b64encode(part.data[start : start + PIECE_BYTES]).decode()
                message = {"do": "list", "source": source, "part": number, "data": data}
                yield {**message, "delivery": delivery, "piece": pieces}
                pieces += 1
    yield {
        "do": "lists",
        "delivery": delivery,
        "pieces": pieces,
        "generation": lists.generation,
        "parts": {source: len(entry.parts) for source, entry in changed.items()},
    }
