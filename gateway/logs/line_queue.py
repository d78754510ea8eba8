"""Lines that wait to be sent, up to `MAX_QUEUED_BYTES`; further lines are dropped and counted.

Keeps true: the error log has a line for lost lines and for failures at most every `REPORT_SECONDS`, however many there
are. A line leaves the queue only after it was sent, or as a counted loss.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from gateway.clock import monotonic_seconds

MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024  # about 15,000 lines while the server is away, as for a full disk
REPORT_SECONDS: Final = 10.0  # a server that is away is reported at this interval, not for every line

_log = logging.getLogger("gateway.access_log")


class LineQueue:
    """The messages that wait, the oldest first. `place` is the log's name in messages."""

    def __init__(self, place: str, remedy: str, *, now: Callable[[], float] = monotonic_seconds) -> None:
        self._place = place
        self._remedy = remedy
        self._now = now
        self._messages: deque[bytes] = deque()
        self._unreported = 0
        self._reported_at = float("-inf")
        self._has_failed = False
        self.queued_bytes = 0
        self.dropped_lines = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: bytes) -> None:
        """Add a message at the end; if the queue is full, drop and count it."""
        if self.queued_bytes + len(message) > MAX_QUEUED_BYTES:
            self._lose(1, f"{self.queued_bytes} bytes wait to be sent, so lines are dropped")
            return
        self._messages.append(message)
        self.queued_bytes += len(message)

    def head(self, max_bytes: int, max_count: int) -> list[bytes]:
        """The oldest messages, at least one if there is any; they stay in the queue."""
        found: list[bytes] = []
        size = 0
        for message in islice(self._messages, max_count):
            size += len(message)
            if size > max_bytes and found:
                break
            found.append(message)
        return found

    def sent(self, count: int) -> None:
        """Take the oldest messages out: they were sent."""
        for _ in range(count):
            self.queued_bytes -= len(self._messages.popleft())

    def drop_first(self, cause: str) -> None:
        """Drop the oldest message, which can't be sent, and count it."""
        self.sent(1)
        self._lose(1, cause)

    def drop_all(self) -> None:
        """Drop and count what is left at the end."""
        if left := len(self._messages):
            self._messages.clear()
            self.queued_bytes = 0
            self._reported_at = float("-inf")  # no later report could name these lines
            self._lose(left, "the gateway ends, and these lines could not be sent")

    def failed(self, cause: str) -> None:
        """Report that sending failed; the messages stay."""
        self._has_failed = True
        self._report(f"{cause}; up to {MAX_QUEUED_BYTES} bytes of lines are kept, and sending is retried")

    def works(self) -> None:
        """Report that sending works again, if a failure was reported."""
        if self._has_failed:
            self._has_failed = False
            lost, self._unreported = self._unreported, 0
            self._reported_at = float("-inf")
            _log.info("access log %s: works again; %d lines were lost since the last report", self._place, lost)

    def _lose(self, lines: int, cause: str) -> None:
        self.dropped_lines += lines
        self._unreported += lines
        self._report(cause)

    def _report(self, text: str) -> None:
        now = self._now()
        if now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        _log.error(
            "access log %s: %s; %d lines lost since the last report; %s",
            self._place,
            text,
            self._unreported,
            self._remedy,
        )
        self._unreported = 0
