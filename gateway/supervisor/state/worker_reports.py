"""The workers' reports: what the master knows about its workers.

Keeps true: a worker that has not answered is not asked again, so questions don't pile up; the last reported counters
of workers that have ended stay in the totals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway import clock
from gateway.supervisor.processes.channel import Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.state.totals import Totals


@dataclass(slots=True)
class KnownWorker:
    """What is known about one worker."""

    status: Message = field(default_factory=dict)
    heard_seconds: float | None = None  # when the last report came, monotonic; None before the first one
    asked_seconds: float | None = None  # when it was asked for a report, monotonic; None: no answer is due
    reload_error: str | None = None


class WorkerReports:
    """The workers' reports."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._known: dict[int, KnownWorker] = {}
        self.ended = Totals()  # counters of workers that have ended

    def of(self, worker: Child) -> KnownWorker:
        """What is known about a worker."""
        return self._known.setdefault(worker.pid, KnownWorker())

    # the workers' side

    def hear(self, worker: Child, message: Message) -> None:
        """Take over a worker's report, or the result of its reload."""
        known = self.of(worker)
        match message:
            case {"is": "reloaded", "error": None | str() as error}:
                known.reload_error = error
            case {"is": "status", **status}:
                known.status = status
                known.heard_seconds = clock.monotonic_seconds()
                known.asked_seconds = None

    def forget(self, workers: Iterable[Child]) -> None:
        """Add the counters of workers that have ended to the totals."""
        for worker in workers:
            known = self._known.pop(worker.pid, None)
            if known is not None:
                self.ended.add(known.status)

    def ask(self, workers: Role) -> None:
        """Ask every worker for a report, except those whose last report is still due."""
        now = clock.monotonic_seconds()
        for worker in self._children.of(workers):
            known = self.of(worker)
            if known.asked_seconds is None and self._children.send(worker, {"do": "status"}):
                known.asked_seconds = now

    def is_newer(self, seconds: float, workers: Role) -> bool:
        """True if every worker has reported since `seconds`, monotonic."""
        reports = (self.of(worker).heard_seconds for worker in self._children.of(workers))
        return all(heard is not None and heard >= seconds for heard in reports)
