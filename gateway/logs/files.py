"""The files of an access log: found, put in order, and opened, whatever they are packed with.

Keeps true: files are read in the order of their content, by the first line that parses, not of their names; a file
that was named twice is read once, and so is a rotated file that is there plain and packed; what a file is packed with
is told from its first bytes, not from its name.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from gateway.errors import UsageError
from gateway.logs.entry import Entry, parse
from gateway.logs.reader import MAX_LINE_BYTES, Skipped, Source
from gateway.logs.rotated_names import or_packed, without_doubles

STANDARD_INPUT: Final = Path("-")
FIRST_LINE_BYTES: Final = MAX_LINE_BYTES + 64 * 1024  # of a file, in which its first line that parses is looked for
MAX_FILES: Final = 512  # all are open at the same time; a process may usually have 1,024
# Lines stand in the order in which exchanges end. So much may they be out of order: workers write within 0.1 s, and
# a clock may be set back by a few minutes.
DISORDER_SECONDS: Final = 300.0
_PACKED_BYTES: Final = 64 * 1024  # that are read and unpacked at a time
_PROBE_BYTES: Final = 64 * 1024  # a bisection that is as near as this reads the rest

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PACKED: Final = r"(?:\.(?:gz|zst))?"
_TURN: Final = r"[.\-_][0-9][0-9TZ.:_\-]*"  # logrotate's .1 and -20261130, and dates with a time


Packed = Literal["", "gzip", "zstd"]


class _Unpacked:
    """What is unpacked from a file, or from several that were written one after the other."""

    def __init__(self, file: io.RawIOBase, new_unpacker: Callable[[], Any]) -> None:
        self._file = file
        self._new_unpacker = new_unpacker
        self._unpacker = new_unpacker()

    def readinto(self, into: memoryview, /) -> int:
        """As of `io.RawIOBase`. All that can be unpacked comes before an error is raised."""
        while True:
            packed = b""
            if self._unpacker.eof:
                packed = (self._unpacker.unused_data or self._file.read(_PACKED_BYTES) or b"").lstrip(b"\0")  # padding
                if not packed and not (packed := self._file.read(_PACKED_BYTES) or b""):
                    return 0
                self._unpacker = self._new_unpacker()
            elif self._unpacker.needs_input:
                packed = self._file.read(_PACKED_BYTES) or b""
                if not packed:
                    raise EOFError("it ends in the middle")
            if data := self._unpacker.decompress(packed, len(into)):
                into[: len(data)] = data
                return len(data)


class LogFile(msgspec.Struct):
    """An open file of a log."""

    path: Path  # as it was named
    file: io.FileIO
    packed: Packed
    first: Entry | None  # the first line that parses
    changed: float  # of a file without one

    @property
    def is_plain(self) -> bool:
        """True for a file in which any place can be reached."""
        return not self.packed and self.file.seekable()

    def close(self) -> None:
        """Close it."""
        self.file.close()


def rotated(path: Path) -> list[Path]:
    """A log and those that it was rotated to: `access.jsonl`, `access.jsonl.2.gz`, `access-20261130.jsonl.zst`."""
    name, stem, suffix = map(re.escape, (path.name, path.stem, path.suffix))
    pattern = re.compile(f"{name}(?:{_TURN})?{_PACKED}|{stem}{_TURN}{suffix}{_PACKED}")
    try:
        return sorted(each for each in path.parent.iterdir() if pattern.fullmatch(each.name))
    except OSError:
        return []


def open_logs(paths: Iterable[Path]) -> list[LogFile]:
    """These files, opened, the oldest first. Raises `UsageError` for one that can't be read."""
    found: dict[tuple[int, int], LogFile] = {}
    with contextlib.ExitStack() as stack:
        for path in without_doubles(paths):
            log = _open(or_packed(path))
            stack.callback(log.close)
            state = os.fstat(log.file.fileno())
            if (state.st_dev, state.st_ino) in found:
                log.close()
                continue
            if len(found) == MAX_FILES:
                raise UsageError(f"more than {MAX_FILES} files", "name fewer, or pipe them: cat FILES | gateway logs -")
            found[state.st_dev, state.st_ino] = log
        stack.pop_all()
    return sorted(found.values(), key=_age)


def standard_input() -> LogFile:
    """What is piped in. It is read as it comes, and can't be looked at before."""
    file = io.FileIO(sys.stdin.fileno(), "rb", closefd=False)
    if not file.seekable():
        return LogFile(STANDARD_INPUT, file, "", None, 0.0)
    place = file.tell()
    packed = _packed(file.read(len(_ZSTD)) or b"")
    file.seek(place)
    return LogFile(STANDARD_INPUT, file, packed, None, 0.0)


@contextlib.contextmanager
def reading(log: LogFile, skipped: Skipped) -> Iterator[Source]:
    """The file's bytes. A file that can't be read to its end is noted, and what was read of it counts."""
    try:
        yield _source(log)
    except BrokenPipeError:  # of the command's own output
        raise
    except _reading_errors() as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        skipped.problems.append(f"{log.path}: not read to its end: {words or type(error).__name__}")
    finally:
        log.close()


def _age(log: LogFile) -> float:
    return log.changed if log.first is None else log.first.written


def _open(path: Path) -> LogFile:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise UsageError(f"{path}: is a folder", "name the files in it")
        file = io.FileIO(path, "rb")
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error
    if not file.seekable():
        return LogFile(path, file, "", None, 0.0)
    try:
        log = LogFile(path, file, _packed(file.read(len(_ZSTD)) or b""), None, os.fstat(file.fileno()).st_mtime)
        file.seek(0)
        log.first = _first_entry(log)
        file.seek(0)
    except OSError as error:
        file.close()
        raise _unusable(path, error) from error
    return log


def _unusable(path: Path, error: Exception) -> UsageError:
    words = error.strerror if isinstance(error, OSError) else "no file name"
    return UsageError(f"{path}: {words}", "name a file that you may read, or - for standard input")


def _packed(head: bytes) -> Packed:
    if head.startswith(_GZIP):
        return "gzip"
    return "zstd" if head == _ZSTD else ""


def _first_entry(log: LogFile) -> Entry | None:
    data = bytearray(FIRST_LINE_BYTES)
    filled = 0
    try:
        source = _source(log)
        while filled < len(data) and (count := source.readinto(memoryview(data)[filled:])):
            filled += count
            entry = _first_in(bytes(data[: data.rfind(b"\n", 0, filled) + 1]))
            if entry is not None:
                return entry
    except _reading_errors():
        pass  # reported when the file is read
    return _first_in(bytes(data[:filled]))


def _first_in(lines: bytes) -> Entry | None:
    for line in lines.split(b"\n"):
        entry = parse(line)
        if entry is not None:
            return entry
    return None


def _source(log: LogFile) -> Source:
    if log.file.seekable():
        return _unpacked(log.file, log.packed)
    head = b""  # what comes through a pipe may be packed too
    while len(head) < len(_ZSTD) and (more := log.file.read(len(_ZSTD) - len(head))):
        head += more
    return _unpacked(_Begun(head, log.file), _packed(head))


def _unpacked(file: io.RawIOBase, packed: Packed) -> Source:
    if packed == "gzip":
        from isal import igzip_lib  # noqa: PLC0415 - only where a file is packed so

        return _Unpacked(file, lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))
    return _Unpacked(file, _zstd().ZstdDecompressor) if packed == "zstd" else file


class _Begun(io.RawIOBase):
    """A pipe of which the first bytes were read already."""

    def __init__(self, head: bytes, file: io.FileIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        """As of `io.RawIOBase`."""
        return True

    def readinto(self, into: Any, /) -> int | None:
        """As of `io.RawIOBase`."""
        if not self._head:
            return self._file.readinto(into)
        count = min(len(self._head), len(into))
        into[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - only where a file is packed so
    else:
        from backports import zstd  # noqa: PLC0415 - the same
    return zstd


def _reading_errors() -> tuple[type[Exception], ...]:
    from isal.igzip_lib import error  # noqa: PLC0415 - only where reading has failed

    errors: tuple[Any, ...] = (OSError, EOFError, error, _zstd().ZstdError)
    return errors


def begin_since(log: LogFile, since: float) -> bool:
    """Move a plain file to a place behind which stand all lines of exchanges that began at `since` or later.

    Found by bisection. True if it may be in the middle of a line. Lines stand in the order in which exchanges end, and
    an exchange ends after it begins, so what ended before `since` is left out.
    """
    file = log.file
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > _PROBE_BYTES:
        middle = (low + high) // 2
        entry = _entry_after(file, middle)
        if entry is None or entry.written >= since - DISORDER_SECONDS:
            high = middle
        else:
            low = middle
    file.seek(low)
    return low > 0


def _entry_after(file: io.FileIO, place: int) -> Entry | None:
    """The first whole JSON line after this place: only JSON lines say when their exchange ended."""
    file.seek(place)
    data = file.read(_PROBE_BYTES) or b""
    begin = data.find(b"\n") + 1
    if not begin:
        return None
    entry = _first_in(data[begin : data.rfind(b"\n") + 1])
    return entry if type(entry) is Entry else None


def is_over_before(following: LogFile, since: float) -> bool:
    """Whether all of the log that was rotated before `following` was written before this moment."""
    first = following.first
    return type(first) is Entry and first.written < since - DISORDER_SECONDS
