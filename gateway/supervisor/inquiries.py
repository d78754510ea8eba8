"""Questions to the master: for the state, and for lifting a lockout. Each waits for new reports of all workers.

Keeps true: a question waits at most `ANSWER_SECONDS` for workers that don't answer; then the answer has their last
reports and says how old these are. When the answer says that a lockout is lifted, all workers that reported know it:
they are told before they are asked for the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway import clock
from gateway.admin.state import LiftAnswer, State
from gateway.supervisor.census import Census
from gateway.supervisor.processes.channel import Message
from gateway.supervisor.processes.children import Child, Children, Role

# A worker that serves answers within milliseconds; the admin process waits a few seconds for the master.
ANSWER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Inquiry:
    child: Child
    number: int
    began_seconds: float  # monotonic
    done: LiftAnswer | None = None  # None: a question for the state


class Inquiries:
    """The questions that are not answered yet."""

    def __init__(
        self,
        children: Children,
        census: Census,
        workers: Role,
        describe: Callable[[float], State],
        lift: Callable[[str, str], LiftAnswer],
    ) -> None:
        """`describe` makes the state for a question that was asked at that time, in monotonic seconds.

        `lift` lets an address in again; its second argument is the name of the person who requested it.
        """
        self._children = children
        self._census = census
        self._workers = workers
        self._describe = describe
        self._lift = lift
        self._open: list[_Inquiry] = []

    def hear(self, child: Child, message: Message) -> None:
        """Take a question of another process; other messages are ignored."""
        match message:
            case {"do": "state", "number": int(number)}:
                self._await_workers(_Inquiry(child, number, clock.monotonic_seconds()))
            case {"do": "lift", "number": int(number), "address": str(address), "asked_by": str(asked_by)}:
                done = self._lift(address, asked_by)
                self._await_workers(_Inquiry(child, number, clock.monotonic_seconds(), done))

    def _await_workers(self, inquiry: _Inquiry) -> None:
        self._open.append(inquiry)
        self._census.ask(self._workers)

    def answer(self) -> None:
        """Answer the questions that need not wait any longer."""
        now, waiting = clock.monotonic_seconds(), []
        for inquiry in self._open:
            is_over = now >= inquiry.began_seconds + ANSWER_SECONDS
            if is_over or self._census.is_newer(inquiry.began_seconds, self._workers):
                self._children.send(inquiry.child, self._answer_to(inquiry))
            else:
                waiting.append(inquiry)
        self._open = waiting

    def _answer_to(self, inquiry: _Inquiry) -> Message:
        if inquiry.done is not None:
            return {"is": "lift", "number": inquiry.number, "answer": inquiry.done}
        return {"is": "state", "number": inquiry.number, "state": self._describe(inquiry.began_seconds)}

    def due_seconds(self) -> float | None:
        """When the next question must be answered, monotonic; None if no question waits."""
        return min((inquiry.began_seconds + ANSWER_SECONDS for inquiry in self._open), default=None)
