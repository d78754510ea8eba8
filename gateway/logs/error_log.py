"""The error log on standard error; repeated messages are counted instead of written.

A client that causes a warning a thousand times a second must not fill the disk with it or hide other messages.

Keeps true: the first messages of a kind are written at once and completely, and so is every message of level INFO. Of
the others the count and the time are written, with the last message, when the window ends; at the latest with the next
message or at the end of the process. The access log still has a line for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable
from typing import Final, TextIO

from gateway.clock import monotonic_seconds

# How long repeats are counted: long enough to reduce a flood, short enough for a reader who waits.
WINDOW_SECONDS: Final = 5.0
# Messages of one kind that are written in a window: an admin who reloads twice with one mistake sees it twice.
WRITTEN_AT_ONCE: Final = 3
# Kinds that are counted at the same time; messages of further kinds are written. An entry has about 300 bytes.
MAX_KINDS: Final = 256
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# Request numbers and other ids: messages that differ only in these are of one kind.
_ID: Final = re.compile(r"\b[0-9a-f]{16,}\b")


def begin_error_log() -> None:
    """Send the process's log messages to standard error, with folding; forked children inherit this."""
    handler = FoldingHandler(sys.stderr)
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=_FORMAT)
    os.register_at_fork(after_in_child=handler.begin_anew)


def end_error_log() -> None:
    """Write the counts, in a process that ends without the interpreter's normal shutdown."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, FoldingHandler):
            handler.tell_all()


class _Kind:
    """Counts messages of one kind since the first one was written."""

    __slots__ = ("began_seconds", "last", "repeats", "written")

    def __init__(self, began_seconds: float) -> None:
        self.began_seconds = began_seconds
        self.last: logging.LogRecord | None = None
        self.repeats = 0  # that were not written
        self.written = 1


class FoldingHandler(logging.StreamHandler[TextIO]):
    """Writes the first warnings and errors of each kind in a window, and counts the others."""

    def __init__(self, stream: TextIO, *, now: Callable[[], float] = monotonic_seconds) -> None:
        super().__init__(stream)
        self._now = now
        self._kinds: dict[tuple[str, int, str], _Kind] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def begin_anew(self) -> None:
        """Forget the counts in a forked child: the parent reports them."""
        self._kinds = {}
        self._timer = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message, or only count it."""
        now = self._now()
        self._tell(now)
        kind = _kind_of(record)
        if kind is None:
            super().emit(record)
        elif (known := self._kinds.get(kind)) is not None:
            self._repeat(known, record)
        else:
            if len(self._kinds) < MAX_KINDS:
                self._kinds[kind] = _Kind(now)
            super().emit(record)

    def _repeat(self, known: _Kind, record: logging.LogRecord) -> None:
        if known.written < WRITTEN_AT_ONCE:
            known.written += 1
            super().emit(record)
        else:
            known.last = record
            known.repeats += 1
            self._set_timer()

    def tell_all(self) -> None:
        """Write all counts."""
        with self.lock or contextlib.nullcontext():
            self._tell(float("inf"))

    def close(self) -> None:
        """Write all counts at the end of the interpreter."""
        self.tell_all()
        super().close()

    def _tell(self, now: float) -> None:
        """Write the counts of the kinds whose window has ended."""
        for kind, counted in list(self._kinds.items()):
            if now - counted.began_seconds < WINDOW_SECONDS:
                break
            del self._kinds[kind]
            if counted.last is not None:
                super().emit(_folded(counted.last, counted.repeats, self._now() - counted.began_seconds))

    def _set_timer(self) -> None:
        """With a running loop, write the count when the window ends; without one, the next message does."""
        if self._timer is None:
            with contextlib.suppress(RuntimeError):  # no loop runs in this thread
                self._timer = asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._timer = None
            self._tell(self._now())
            if any(counted.last is not None for counted in self._kinds.values()):
                self._set_timer()


def _kind_of(record: logging.LogRecord) -> tuple[str, int, str] | None:
    """The key of messages that count as equal; None for messages that are always written."""
    if record.levelno < logging.WARNING:
        return None
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        return None  # the arguments don't fit the message; writing it reports that
    cause = "" if record.exc_info is None else repr(record.exc_info[1])
    return record.name, record.levelno, _ID.sub("…", f"{text}\n{cause}")


def _folded(last: logging.LogRecord, repeats: int, seconds: float) -> logging.LogRecord:
    """The last repeat, unchanged if it is the only one, else with the number of repeats."""
    if repeats == 1:
        return last
    told = logging.makeLogRecord(last.__dict__)
    told.msg = "%d more like this in %.0f s, the last of them: %s"
    told.args = (repeats, seconds, last.getMessage())
    told.exc_info = told.exc_text = None
    return told
