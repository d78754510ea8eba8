"""Ends workers that hang, so that others take their places.

Keeps true: a worker that answers nothing for `HUNG_SECONDS` is killed, because it would serve by what it knew before if
it ever went on; time in which the master itself stood still counts for no worker.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import Final

from gateway import clock
from gateway.supervisor.children import Child, Children, Role

# A worker's event loop turns in milliseconds. One that doesn't turn for so long serves nobody, and its clients have
# given up; less might end workers of a machine that is only very busy.
HUNG_SECONDS: Final = 10.0
# A question and an answer of twenty bytes.
PING_SECONDS: Final = 2.0
# The master looks every half second. If it was held up itself (a long list to read, a suspended machine), the workers'
# answers wait to be read, and so only this much of that time counts.
MAX_STEP_SECONDS: Final = 1.0

_log = logging.getLogger("gateway.master")


class Watchdog:
    """Asks every worker whether it is alive."""

    def __init__(self, children: Children, workers: Role) -> None:
        self._children = children
        self._workers = workers
        self._silent_seconds: dict[Child, float] = {}  # those that were asked and have said nothing since
        self._looked_seconds = self._ping_at = clock.monotonic_seconds()

    def heard(self, worker: Child) -> None:
        """A worker says something, whatever it is."""
        self._silent_seconds.pop(worker, None)

    def tick(self) -> None:
        """Ask again when it is time to, and end the workers that hang."""
        now = clock.monotonic_seconds()
        step, self._looked_seconds = min(now - self._looked_seconds, MAX_STEP_SECONDS), now
        workers = self._children.of(self._workers)
        self._silent_seconds = {
            worker: self._silent_seconds[worker] + step for worker in workers if self._asked(worker)
        }
        for worker, seconds in tuple(self._silent_seconds.items()):
            if seconds >= HUNG_SECONDS:
                _log.error("worker %d has not answered for %.0f s and is ended", worker.pid, seconds)
                os.kill(worker.pid, signal.SIGKILL)
                del self._silent_seconds[worker]
        if now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            for worker in workers:
                if not self._asked(worker) and self._children.send(worker, {"do": "ping"}):
                    self._silent_seconds[worker] = 0.0

    def _asked(self, worker: Child) -> bool:
        return worker in self._silent_seconds
