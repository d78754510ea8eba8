"""Writes the access log: lines are collected and written in batches.

`write` only appends to a list. A batch is written with one `os.write` to a descriptor opened with O_APPEND, so lines of
several workers never mix, at most `FLUSH_SECONDS` after its first line. This write runs in the event loop: 64 KiB into
the page cache take about 20 µs, less than handing them to a thread.

Keeps true: every line begins on a line of its own, also behind one that a full disk or the end of a process cut short.
Before each batch the writer looks at the file's last byte, because another worker may have written it. A line that was
cut short is written again as a whole; what stands of it before is a line that doesn't parse.

If the log can't be opened at the start, the gateway doesn't start. If writing fails later, the gateway continues to
serve: lines are kept up to `MAX_PENDING_BYTES`, then dropped and counted, and the error log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway import access
from gateway.clock import monotonic_seconds
from gateway.errors import ConfigError

FLUSH_SECONDS: Final = 0.1  # a reader with `--follow` sees a line this soon
MAX_BATCH_BYTES: Final = 64 * 1024  # a batch of this size is written at once; that takes about 20 µs
MAX_PENDING_BYTES: Final = 16 * 1024 * 1024  # about 15,000 lines while the disk is full; further ones are dropped
REPORT_SECONDS: Final = 10.0  # a full disk is reported at this interval, not for every line
OPEN_ATTEMPTS: Final = 10  # each of them fails only if the file is renamed in this very moment
FILE_MODE: Final = 0o640  # lines contain personal data: only the owner and the log group may read them
FOLDER_MODE: Final = 0o750
PIPE_CHUNK_BYTES: Final = select.PIPE_BUF
STDOUT_DESCRIPTOR: Final = 1
# How often a file is looked at that ends within a line. Most often another worker's write is under way for some
# microseconds; if it isn't, this is waited for once.
LOOKS: Final = 25
LOOK_SECONDS: Final = 0.001

_log = logging.getLogger("gateway.access_log")


class AccessLogWriter:
    """Collects lines and writes them out. `path` None is standard output.

    With `holds_lock`, the file that is open has a shared lock, so that it isn't packed or deleted: see `logs.packing`.
    Without a running loop (`start` not called) lines are written when a batch is full and at `close`. Raises
    `ConfigError` when the file can't be opened.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        holds_lock: bool = False,
        write: Callable[[int, bytes], int] = os.write,
        now: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._path = path
        self._holds_lock = holds_lock
        self._write = write
        self._now = now
        self._lines: list[bytes] = []
        self._pending_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_stuck = False  # the last write failed: only the timer tries again
        self._unreported = 0
        self._reported_at = float("-inf")
        self.dropped_lines = 0
        self._descriptor, self._reading = self._open()
        self._torn_bytes = -1  # the size of the file when its last line was found to be cut short
        self._chunk_bytes = _chunk_bytes(self._descriptor)

    def __repr__(self) -> str:
        where = self._path or "stdout"
        return f"<AccessLogWriter {where} pending_bytes={self._pending_bytes} dropped_lines={self.dropped_lines}>"

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Flush by this loop's timer from now on; call it after a fork, in the process that writes."""
        self._loop = loop
        if self._pending_bytes:
            self._timer = loop.call_later(FLUSH_SECONDS, self._on_timer)

    def write(self, line: bytes) -> None:
        """Add one line, newline included. Does I/O only if the batch is full."""
        if self._pending_bytes + len(line) > MAX_PENDING_BYTES:
            self._drop(1)
            return
        self._lines.append(line)
        self._pending_bytes += len(line)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._on_timer)
        if self._pending_bytes >= MAX_BATCH_BYTES and not self._is_stuck:
            self.flush()

    def flush(self) -> None:
        """Write the pending lines. Lines that can't be written are kept, up to `MAX_PENDING_BYTES`."""
        while self._lines:
            count, chunk = self._next_chunk()
            begin = self._missing_end()
            if not begin and not chunk:  # another worker has ended the line already
                del self._lines[:count]
                continue
            try:
                written = self._write(self._descriptor, begin + chunk)
            except BlockingIOError:  # a pipe with a slow reader: not an error until lines must be dropped
                self._is_stuck = True
                return
            except OSError as error:
                self._is_stuck = True
                self._report(f"{error.strerror}; lines are kept, and writing is retried")
                return
            self._is_stuck = not written
            if self._is_stuck or not self._remove(count, chunk, written - len(begin)):
                return

    def _missing_end(self) -> bytes:
        """What ends the file's last line: nothing if it is whole, or if this is no file.

        Another worker may be in the middle of its write: until the kernel has copied all of it, the file ends within a
        line. Such a line is whole a moment later.
        """
        if self._reading < 0:
            return b""
        with contextlib.suppress(OSError):
            for look in range(LOOKS):
                size = os.fstat(self._reading).st_size
                if not size or os.pread(self._reading, 1, size - 1) in {b"\n", b""}:
                    return b""
                if size == self._torn_bytes:
                    return b"\n"
                if look:
                    time.sleep(LOOK_SECONDS)
            self._torn_bytes = size
            return b"\n"
        return b""

    def _remove(self, count: int, chunk: bytes, written: int) -> bool:
        """Remove what was written of the first `count` lines; False if the disk took no whole line."""
        done = written
        if written < len(chunk) and self._reading >= 0:
            done = chunk.rfind(b"\n", 0, written) + 1
            if chunk.startswith(b"\n", written):  # only its end is missing, which `_missing_end` finds
                done = written + 1
        self._pending_bytes -= done
        self._lines[:count] = [chunk[done:]] if written < len(chunk) else []
        self._is_stuck = not done and bool(chunk)
        return not self._is_stuck

    def _next_chunk(self) -> tuple[int, bytes]:
        if self._pending_bytes <= self._chunk_bytes:
            return len(self._lines), b"".join(self._lines)
        size = count = 0
        for line in self._lines:
            size += len(line)
            if size > self._chunk_bytes and count:
                break
            count += 1
        return count, b"".join(self._lines[:count])

    def reopen(self) -> None:
        """Open the file again by its path after a log rotation. Keeps the old file if that fails."""
        if self._path is None:
            return
        self.flush()
        try:
            descriptor, reading = self._open()
        except ConfigError as error:
            _log.error("%s; the old file is still used; %s", error.cause, error.remedy)
            return
        self._close_files()
        self._descriptor = descriptor
        self._reading = reading
        self._torn_bytes = -1
        self._chunk_bytes = _chunk_bytes(descriptor)

    @property
    def is_current(self) -> bool:
        """False if the file that is open is no longer the one at the path."""
        return self._path is None or _is_at(self._path, self._descriptor)

    def _open(self) -> tuple[int, int]:
        """The file's descriptors to write to and to read from; -1 if it is a pipe or may not be read."""
        for _ in range(OPEN_ATTEMPTS):
            descriptor = _open_stdout() if self._path is None else _open(self._path)
            reading = _open_to_read(descriptor)
            if self._path is None or reading < 0 or not self._holds_lock:
                return descriptor, reading
            with contextlib.suppress(OSError):  # without locks on this filesystem, nothing is packed either
                fcntl.flock(reading, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _is_at(self._path, reading):  # else it was renamed before it was locked
                return descriptor, reading
            os.close(reading)
            os.close(descriptor)
        raise ConfigError(
            f"access_log.path: {self._path}: it was renamed {OPEN_ATTEMPTS} times while it was opened",
            "let only one program rotate it",
        )

    async def finish(self) -> None:
        """Write the pending lines."""
        self.flush()

    def close(self) -> None:
        """Flush and close; lines that can't be written now are lost, and counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        self.flush()
        if lost := sum(line.count(b"\n") for line in self._lines):
            self._drop(lost)
        self._lines.clear()
        self._pending_bytes = 0
        self._close_files()

    def _close_files(self) -> None:
        if self._descriptor > STDOUT_DESCRIPTOR:
            os.close(self._descriptor)
        if self._reading >= 0:
            os.close(self._reading)
        self._descriptor = self._reading = -1

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()
        if self._lines and self._loop is not None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._on_timer)

    def _drop(self, lines: int) -> None:
        self.dropped_lines += lines
        self._unreported += lines
        self._report(f"{self._pending_bytes} bytes could not be written, so lines are dropped")

    def _report(self, text: str) -> None:
        now = self._now()
        if now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        _log.error(
            "access log %s: %s; %d lines lost since the last report; free disk space, or change access_log.path",
            self._path or "stdout",
            text,
            self._unreported,
        )
        self._unreported = 0


_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        return os.open(path, _FLAGS | os.O_CREAT, FILE_MODE)
    except PermissionError as error:
        target = path if os.path.exists(path) else path.parent  # noqa: PTH110 - raises no error for a folder without permission
        raise ConfigError(f"access_log.path: {path}: {error.strerror}", access.to_write(target)) from error
    except OSError as error:
        raise ConfigError(
            f"access_log.path: {path}: {error.strerror}", "name a file that the gateway's user can write"
        ) from error


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _open_stdout() -> int:
    # Opened again, so that O_NONBLOCK applies to this process only, and a reader that stops doesn't block it.
    try:
        return os.open(f"/proc/self/fd/{STDOUT_DESCRIPTOR}", _FLAGS)
    except OSError:  # a socket (journald), or no /proc: use the descriptor itself
        pass
    try:
        os.fstat(STDOUT_DESCRIPTOR)
    except OSError as error:
        raise ConfigError(f"access_log.path: standard output: {error.strerror}", "name a file instead") from error
    return STDOUT_DESCRIPTOR


def _open_to_read(descriptor: int) -> int:
    """The same file, to look at its end; -1 if it is a pipe or may not be read."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return -1
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _chunk_bytes(descriptor: int) -> int:
    # Writes of several processes to one pipe are atomic up to PIPE_BUF bytes (POSIX, write()), to a file always.
    is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    return PIPE_CHUNK_BYTES if is_pipe else MAX_BATCH_BYTES
