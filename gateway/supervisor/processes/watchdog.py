"""Kills processes that hang, so that they are replaced.

Keeps true: a worker that does not answer for `HUNG_SECONDS` is killed, because it would serve with outdated lists if it
continued. A process beside the workers is killed after `HUNG_HELPER_SECONDS`, because revocations reach this machine
through it. Time in which the master itself was delayed does not count.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import Final

from gateway import clock
from gateway.supervisor.processes.channel import PING
from gateway.supervisor.processes.children import Child, Children, Role

# A worker's event loop answers within milliseconds. If it does not run for so long, its clients have given up; a
# shorter time might kill workers on a machine that is only very busy.
HUNG_SECONDS: Final = 10.0
# The other processes are separate programs, which must be loaded first, from a slow disk perhaps. The fetcher's loop
# stops for seconds while one of its threads parses a list of 16 MiB. Other long work runs in threads.
HUNG_HELPER_SECONDS: Final = 20.0
# After this time the state says that a process does not answer. This does not apply while the process starts, which
# takes a second, or much longer on a busy machine.
SILENT_SECONDS: Final = 5.0
# A ping and its answer have twenty bytes each.
PING_SECONDS: Final = 2.0
# The master calls `tick` every half second. If it was delayed itself (a long list to read, a suspended machine), the
# answers of the others are waiting to be read, and so only this much of that time counts.
MAX_STEP_SECONDS: Final = 1.0

_log = logging.getLogger("gateway.master")


class Watchdog:
    """Sends pings to every other process."""

    def __init__(self, children: Children, workers: Role) -> None:
        self._children = children
        self._workers = workers
        self._silent_seconds: dict[Child, float] = {}  # processes that have sent no message since their ping
        self._started: set[Child] = set()  # processes that have sent a message
        self._looked_seconds = self._ping_at = clock.monotonic_seconds()

    def heard(self, child: Child) -> None:
        """Note that a process has sent a message of any kind."""
        self._silent_seconds.pop(child, None)
        self._started.add(child)

    def is_silent(self, child: Child) -> bool:
        """True if it has not answered a ping for `SILENT_SECONDS`."""
        return child in self._started and self._silent_seconds.get(child, 0.0) >= SILENT_SECONDS

    def tick(self) -> None:
        """Send pings when they are due, and kill the processes that hang."""
        now = clock.monotonic_seconds()
        step, self._looked_seconds = min(now - self._looked_seconds, MAX_STEP_SECONDS), now
        children = list(self._children)
        self._started.intersection_update(children)
        self._silent_seconds = {child: self._silent_seconds[child] + step for child in children if self._asked(child)}
        for child, seconds in tuple(self._silent_seconds.items()):
            if seconds >= (HUNG_SECONDS if child.role is self._workers else HUNG_HELPER_SECONDS):
                _log.error("%s %d has not answered for %.0f s and is replaced", child.role.name, child.pid, seconds)
                os.kill(child.pid, signal.SIGKILL)
                del self._silent_seconds[child]
        if now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            for child in children:
                if not self._asked(child) and self._children.send(child, PING):
                    self._silent_seconds[child] = 0.0

    def _asked(self, child: Child) -> bool:
        return child in self._silent_seconds
