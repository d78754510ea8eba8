"""A log that is still written to, read as it grows.

Keeps true: each line comes once, whole, also if it was written in two halves, and whether the log is renamed, cut to
nothing, or missing for a while. After a rename, workers write to the old file until they are told: it is read for
`LINGER_SECONDS` beside the new one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.logs.reader import Hit, LineBuffer, Reader

POLL_SECONDS: Final = 0.2  # the writer keeps lines for half as long
LINGER_SECONDS: Final = 10.0
_LINGER_POLLS: Final = int(LINGER_SECONDS / POLL_SECONDS)
LAST_LINES: Final = 10  # shown at first, as `tail -f` does
_LAST_BYTES: Final = 64 * 1024  # in which they are looked for


class _Growing:
    """One file, and how far it was read."""

    def __init__(self, file: io.FileIO, reader: Reader, linger_polls: int, *, begins_inside_line: bool = False) -> None:
        self.file = file
        self.polls_left = linger_polls
        self._reader = reader
        self._buffer = LineBuffer(reader.skipped, begins_inside_line=begins_inside_line)

    def read(self) -> Iterator[Hit]:
        """What came since it was last read."""
        if os.fstat(self.file.fileno()).st_size < self.file.tell():
            self._buffer.forget()
            self.file.seek(0)
        return self._reader.hits(self._buffer.blocks(self.file))

    def close(self) -> Iterator[Hit]:
        """A last line without its end."""
        yield from self._reader.hits(self._buffer.rest())
        self.file.close()


def follow(
    path: Path,
    file: io.FileIO,
    reader: Reader,
    wait: Callable[[], None],
    *,
    begins_inside_line: bool = False,
    linger_polls: int = _LINGER_POLLS,
) -> Iterator[Hit | None]:
    """The hits from where `file`, the log at `path`, stands now; never ends. None each time that there are no more yet.

    `wait` is called before each further look, and lets `POLL_SECONDS` pass. With another time between two looks,
    `linger_polls` says in how many of them a renamed file is read, the one included that finds the new file.
    """
    older: list[_Growing] = []
    newest = _Growing(file, reader, linger_polls, begins_inside_line=begins_inside_line)
    try:
        while True:
            for each in (*older, newest):
                yield from each.read()
            for each in older:
                each.polls_left -= 1
                if not each.polls_left:
                    yield from each.close()
            older = [each for each in older if each.polls_left]
            successor = _successor(path, newest.file)
            if successor is not None:
                older.append(newest)
                newest = _Growing(successor, reader, linger_polls)
                continue
            yield None
            wait()
    finally:
        for each in (*older, newest):
            each.file.close()


def _successor(path: Path, file: io.FileIO) -> io.FileIO | None:
    """The file that has the log's name now, opened, if it is another one than this."""
    try:
        now, before = path.stat(), os.fstat(file.fileno())
        return None if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino) else io.FileIO(path, "rb")
    except OSError:  # it was renamed, and the new one is not there yet
        return None


def begin_near_end(file: io.FileIO) -> bool:
    """Move to the last few lines. True if that is in the middle of a line."""
    size = os.fstat(file.fileno()).st_size
    begin = max(0, size - _LAST_BYTES)
    file.seek(begin)
    data = file.read(size - begin) or b""
    place = len(data)
    for _ in range(LAST_LINES + 1):
        place = data.rfind(b"\n", 0, place)
        if place < 0:
            file.seek(begin)
            return begin > 0
    file.seek(begin + place + 1)
    return False
