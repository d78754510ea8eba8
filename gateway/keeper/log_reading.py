"""Reads the access log as it grows, for alerts.

Keeps true: a look takes a bounded time, whatever was written; the log may be rotated, and may be missing for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from gateway.errors import OperationError
from gateway.logs.entry import Entry
from gateway.logs.files import begin_since, open_logs
from gateway.logs.follow import follow
from gateway.logs.reader import Hit, Reader

MAX_LINES: Final = 200_000  # of one look: 3,300 requests a second; they take about a second
# A renamed log is read when the new one is found, and once more a round later: by then no worker writes to it. As long
# as it is open, it takes disk space, even if it was packed and deleted.
LINGER_LOOKS: Final = 2
_WITH_PERSON: Final = rb'"(?:user|cert_email)":"'


class LogReading:
    """The lines of a log that name a person."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = Reader(lambda entry: entry.user is not None or entry.cert_email is not None, _WITH_PERSON)
        self._hits: Iterator[Hit | None] | None = None

    def entries(self, since: float) -> Iterator[Entry]:
        """What came since the last look; at the first one, since then. Raises `UsageError`, `OperationError`."""
        if self._hits is None:
            (log,) = open_logs([self._path])
            is_inside = begin_since(log, since)
            self._hits = follow(
                self._path,
                log.file,
                self._reader,
                lambda: None,
                begins_inside_line=is_inside,
                linger_polls=LINGER_LOOKS,
            )
        try:
            for hit in islice(self._hits, MAX_LINES):
                if hit is None:
                    return
                if hit.entry.written >= since:
                    yield hit.entry
        except OSError as error:
            self._hits = None
            raise OperationError(f"{self._path}: {error.strerror}", "Check the disk that it is on.") from error

    def close(self) -> None:
        """Close the files."""
        hits, self._hits = self._hits, None
        if hits is not None:
            hits.close()  # type: ignore[attr-defined]
