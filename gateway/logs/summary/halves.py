"""A large file is read by two processes, each of which counts half of it.

Keeps true: what is counted is what one process would count. If the second process ends early, for whatever reason, the
first one reads its half too.

Two and not more: each one needs as much memory as the other (docs/adr/0033-two-processes-count.md).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from gateway.logs.files import LogFile
from gateway.logs.reader import MAX_LINE_BYTES

MIN_BYTES: Final = 32 * 1024 * 1024  # of a file: a smaller one is read in less time than a process takes to start


class Part:
    """A source: the bytes of a file from one place to another."""

    def __init__(self, log: LogFile, begin: int, end: int = sys.maxsize) -> None:
        self._descriptor = log.file.fileno()
        self._place = begin
        self._end = end

    def readinto(self, into: memoryview, /) -> int:
        """As of `io.RawIOBase`. The place in the file is not the descriptor's, which two processes share."""
        count = os.preadv(self._descriptor, [into[: min(len(into), self._end - self._place)]], self._place)
        self._place += count
        return count


def middle_of(log: LogFile) -> int | None:
    """Where a line begins, about in the middle of the file; None if it is better read by one process."""
    # A process with threads can't be forked safely.
    if not log.is_plain or len(os.sched_getaffinity(0)) < 2 or threading.active_count() > 1:
        return None
    descriptor = log.file.fileno()
    size = os.fstat(descriptor).st_size
    if size < MIN_BYTES:
        return None
    found = os.pread(descriptor, MAX_LINE_BYTES + 1, size // 2).find(b"\n")
    return None if found < 0 else size // 2 + found + 1


class Forked:
    """Work that is done by a process of its own, begun at once. The result must be one that `pickle` can pass on."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._pipe, end = os.pipe()
        self._process: int | None = os.fork()
        if not self._process:
            code = 1
            try:
                os.close(self._pipe)
                with os.fdopen(end, "wb") as pipe:
                    pickle.dump(work(), pipe)
                code = 0
            finally:
                os._exit(code)  # without a message: the other process does the work then
        os.close(end)

    def result(self) -> Any:
        """What the work returned; None if it failed."""
        found = None
        with os.fdopen(os.dup(self._pipe), "rb") as pipe, contextlib.suppress(EOFError, pickle.UnpicklingError):
            found = pickle.load(pipe)  # noqa: S301 - this program wrote it
        return found if self._end() == 0 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            os.kill(self._process, signal.SIGKILL)
            self._end()
        os.close(self._pipe)

    def _end(self) -> int:
        assert self._process is not None  # noqa: S101 - called once
        _, status = os.waitpid(self._process, 0)
        self._process = None
        return status
