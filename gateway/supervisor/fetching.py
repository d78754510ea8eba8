"""The fetcher, seen from the master: it runs while there is something to fetch.

What this module keeps true: there is at most one; one that dies is replaced, ever more slowly if it keeps dying or
can't be started; it holds no listening socket and no log file, so that it stands in nobody's way.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Final

from gateway import clock
from gateway.errors import OperationError
from gateway.supervisor.channel import Channel, ChannelClosed
from gateway.supervisor.forking import fork
from gateway.supervisor.lists import ListStore, Plan

FIRST_DELAY_SECONDS: Final = 1.0
MAX_DELAY_SECONDS: Final = 60.0
# It ends at once when asked, unless it is reading a long list.
KILL_AFTER_SECONDS: Final = 5.0
# A fetcher that lived this long did not die of its start.
STEADY_SECONDS: Final = 60.0

_log = logging.getLogger("gateway.master")


class FetcherKeeper:
    """Starts, restarts and stops the fetcher."""

    def __init__(self, store: ListStore, let_go: Callable[[], None]) -> None:
        """`let_go`: closes, in the child, all that is the master's."""
        self._store = store
        self._let_go = let_go
        self._plan: Plan = {}
        self._process: int | None = None
        self._channel: Channel | None = None
        self._started_seconds = 0.0
        self._delay_seconds = 0.0
        self._start_at: float | None = None  # monotonic
        self._is_stopping = False
        self._kill_at = 0.0

    def follow(self, plan: Plan) -> None:
        """Fetch what `plan` says from now on."""
        if plan == self._plan:
            return
        self._plan = plan
        self._start_at = clock.monotonic_seconds() if plan and self._process is None else None
        self.stop()  # the successor starts when it has ended
        self.tick()

    def fetch_now(self) -> None:
        """Ask every server at once."""
        if self._channel is not None:
            try:
                self._channel.send({"do": "fetch"})
            except ChannelClosed:
                _log.warning("the fetcher does not listen; its end will be noticed")

    def tick(self) -> None:
        """Start the fetcher when it is due, and end one that was asked to end and did not."""
        now = clock.monotonic_seconds()
        if self._is_stopping and now >= self._kill_at:
            self.stop(signal.SIGKILL)
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            try:
                self._fork()
            except OperationError as error:
                self._start_at = now + self._slower()
                _log.error("%s; %s; it is tried again in %.0f s", error.cause, error.remedy, self._delay_seconds)

    def ended(self, process: int) -> bool:
        """True when it was the fetcher that ended; another is started where one is needed."""
        if process != self._process:
            return False
        self._process = None
        self.close()
        now = clock.monotonic_seconds()
        is_steady = now - self._started_seconds >= STEADY_SECONDS
        if self._is_stopping:
            self._is_stopping = False
            self._delay_seconds = 0.0
        else:
            self._delay_seconds = 0.0 if is_steady else self._slower()
            _log.error("the fetcher %d ended; a new one starts in %.0f s", process, self._delay_seconds)
        self._start_at = now + self._delay_seconds if self._plan else None
        return True

    def _slower(self) -> float:
        self._delay_seconds = min(MAX_DELAY_SECONDS, max(FIRST_DELAY_SECONDS, self._delay_seconds * 2))
        return self._delay_seconds

    @property
    def is_running(self) -> bool:
        """True until the process has ended."""
        return self._process is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Let the process end; with SIGKILL, make it end."""
        if self._process is not None:
            self._is_stopping = True
            self._kill_at = clock.monotonic_seconds() + KILL_AFTER_SECONDS
            os.kill(self._process, number)

    def end(self) -> None:
        """Let the process end, and start no other."""
        self._plan = {}
        self._start_at = None
        self.stop()

    def close(self) -> None:
        """Close the master's end of the channel; a child that is not the fetcher does so too."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _fork(self) -> None:
        from gateway.supervisor import fetcher  # noqa: PLC0415 - aiohttp, only where something is fetched

        self._process, self._channel = fork(
            "the fetcher", self._let_go, lambda channel: fetcher.serve(self._plan, self._store, channel)
        )
        self._started_seconds = clock.monotonic_seconds()
        self._is_stopping = False
