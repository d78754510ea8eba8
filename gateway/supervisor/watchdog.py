"""Ends processes that hang, so that others take their places.

Keeps true: a worker that answers nothing for `HUNG_SECONDS` is killed, because it would serve by what it knew before if
it ever went on; a process beside the workers after `HUNG_HELPER_SECONDS`, because revocations come to this machine
through it; time in which the master itself stood still counts for none.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import Final

from gateway import clock
from gateway.supervisor.channel import PING
from gateway.supervisor.children import Child, Children, Role

# A worker's event loop turns in milliseconds. One that doesn't turn for so long serves nobody, and its clients have
# given up; less might end workers of a machine that is only very busy.
HUNG_SECONDS: Final = 10.0
# Each of the others is a program of its own, which first has to be loaded, from a slow disk perhaps; and while one of
# the fetcher's threads parses a list of 16 MiB its loop stands still for seconds. What else takes long is in threads.
HUNG_HELPER_SECONDS: Final = 20.0
# From then on one is told as not answering; not while it starts, which takes a second, or far longer on a busy machine.
SILENT_SECONDS: Final = 5.0
# A question and an answer of twenty bytes.
PING_SECONDS: Final = 2.0
# The master looks every half second. If it was held up itself (a long list to read, a suspended machine), the others'
# answers wait to be read, and so only this much of that time counts.
MAX_STEP_SECONDS: Final = 1.0

_log = logging.getLogger("gateway.master")


class Watchdog:
    """Asks every other process whether it is alive."""

    def __init__(self, children: Children, workers: Role) -> None:
        self._children = children
        self._workers = workers
        self._silent_seconds: dict[Child, float] = {}  # those that were asked and have said nothing since
        self._started: set[Child] = set()  # those that have said anything
        self._looked_seconds = self._ping_at = clock.monotonic_seconds()

    def heard(self, child: Child) -> None:
        """A process says something, whatever it is."""
        self._silent_seconds.pop(child, None)
        self._started.add(child)

    def is_silent(self, child: Child) -> bool:
        """True where it has left a question unanswered for long."""
        return child in self._started and self._silent_seconds.get(child, 0.0) >= SILENT_SECONDS

    def tick(self) -> None:
        """Ask again when it is time to, and end the processes that hang."""
        now = clock.monotonic_seconds()
        step, self._looked_seconds = min(now - self._looked_seconds, MAX_STEP_SECONDS), now
        children = list(self._children)
        self._started.intersection_update(children)
        self._silent_seconds = {child: self._silent_seconds[child] + step for child in children if self._asked(child)}
        for child, seconds in tuple(self._silent_seconds.items()):
            if seconds >= (HUNG_SECONDS if child.role is self._workers else HUNG_HELPER_SECONDS):
                _log.error("%s %d has not answered for %.0f s and is ended", child.role.name, child.pid, seconds)
                os.kill(child.pid, signal.SIGKILL)
                del self._silent_seconds[child]
        if now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            for child in children:
                if not self._asked(child) and self._children.send(child, PING):
                    self._silent_seconds[child] = 0.0

    def _asked(self, child: Child) -> bool:
        return child in self._silent_seconds
