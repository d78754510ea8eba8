"""Requests to the master: for the state, and for lifting a lockout. Each waits for new reports of all workers.

Keeps true: a request waits at most `ANSWER_SECONDS` for workers that don't answer; then the answer has their last
reports and says how old these are. When the answer says that a lockout is lifted, all workers that reported know it:
they are told before they are asked for the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway import clock
from gateway.admin.state import LiftAnswer, State
from gateway.supervisor.processes.channel import Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.state.worker_reports import WorkerReports

# A worker that serves answers within milliseconds; the admin process waits a few seconds for the master.
ANSWER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Request:
    child: Child
    number: int
    began_seconds: float  # monotonic
    done: LiftAnswer | None = None  # None: a request for the state


class PendingRequests:
    """The requests that are not answered yet."""

    def __init__(
        self,
        children: Children,
        worker_reports: WorkerReports,
        workers: Role,
        describe: Callable[[float], State],
        lift: Callable[[str, str], LiftAnswer],
    ) -> None:
        """`describe` makes the state for a request that was made at that time, in monotonic seconds.

        `lift` lets an address in again; its second argument is the name of the person who requested it.
        """
        self._children = children
        self._worker_reports = worker_reports
        self._workers = workers
        self._describe = describe
        self._lift = lift
        self._open: list[_Request] = []

    def hear(self, child: Child, message: Message) -> None:
        """Take a request of another process; other messages are ignored."""
        match message:
            case {"do": "state", "number": int(number)}:
                self._await_workers(_Request(child, number, clock.monotonic_seconds()))
            case {"do": "lift", "number": int(number), "address": str(address), "asked_by": str(asked_by)}:
                done = self._lift(address, asked_by)
                self._await_workers(_Request(child, number, clock.monotonic_seconds(), done))

    def _await_workers(self, request: _Request) -> None:
        self._open.append(request)
        self._worker_reports.ask(self._workers)

    def answer(self) -> None:
        """Answer the requests that need not wait any longer."""
        now, waiting = clock.monotonic_seconds(), []
        for request in self._open:
            is_over = now >= request.began_seconds + ANSWER_SECONDS
            if is_over or self._worker_reports.is_newer(request.began_seconds, self._workers):
                self._children.send(request.child, self._answer_to(request))
            else:
                waiting.append(request)
        self._open = waiting

    def _answer_to(self, request: _Request) -> Message:
        if request.done is not None:
            return {"is": "lift", "number": request.number, "answer": request.done}
        return {"is": "state", "number": request.number, "state": self._describe(request.began_seconds)}

    def due_seconds(self) -> float | None:
        """When the next request must be answered, monotonic; None if no request waits."""
        return min((request.began_seconds + ANSWER_SECONDS for request in self._open), default=None)
