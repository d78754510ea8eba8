"""Who waits for the master to tell what it knows, or to let somebody in again.

Keeps true: nobody waits longer than `ANSWER_SECONDS` for workers that do not answer: then what these said last is
told, and how old that is. Who hears that a lockout is lifted can rely on it: workers hear of it before they are asked
for the report that the answer waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway import clock
from gateway.admin.state import LiftAnswer, State
from gateway.supervisor.census import Census
from gateway.supervisor.channel import Message
from gateway.supervisor.children import Child, Children, Role

# A worker that serves answers within milliseconds; who asks has a time limit of its own, a few seconds long.
ANSWER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Inquiry:
    child: Child
    number: int
    began_seconds: float  # monotonic
    done: LiftAnswer | None = None  # None where only the state is asked for


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
        """`describe` makes the answer to a question that was asked then, in monotonic seconds.

        `lift` lets an address in again; who asked for that is its second argument.
        """
        self._children = children
        self._census = census
        self._workers = workers
        self._describe = describe
        self._lift = lift
        self._open: list[_Inquiry] = []

    def hear(self, child: Child, message: Message) -> None:
        """Another process asks; what else it says means nothing."""
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
        """Tell those who need not wait any longer."""
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
        """When the next one's time is up, monotonic; None where nobody waits."""
        return min((inquiry.began_seconds + ANSWER_SECONDS for inquiry in self._open), default=None)
