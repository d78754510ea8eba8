"""The entries of an access log, many at a time.

Keeps true: these are the entries that `Reader` finds, and the same lines are counted as skipped. A block of whole lines
is decoded by one call, three times as fast as line by line. A block that has a line which is not JSON of the expected
types is read by `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from itertools import chain, islice
from typing import Annotated, Final, NamedTuple

import msgspec

from gateway.logs.entry import FIRST_YEAR, LAST_YEAR, Entry
from gateway.logs.filters import Filters
from gateway.logs.reader import MAX_LINE_BYTES, LineBuffer, Reader, Source

_HITS: Final = 1024  # that are handed on together
_BATCH_BYTES: Final = 256 * 1024


class Brief(msgspec.Struct, frozen=True, gc=False):
    """What a summary needs of an `Entry`. It takes two thirds of the time to make."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    client_ip: str | None = None
    uri: str | None = None
    status: int | None = None
    reason: str | None = None
    observed: str | None = None
    rule: str | None = None
    duration_ms: float | None = None
    cert_subject: str | None = None
    cert_fingerprint: str | None = None
    cert_email: str | None = None
    login: str | None = None
    user: str | None = None
    device_id: str | None = None


_decode_lines: Final = msgspec.json.Decoder(Entry).decode_lines
_decode_briefly: Final = msgspec.json.Decoder(Brief).decode_lines


class Batch(NamedTuple):
    """Entries, in the order of their lines. There is at least one."""

    entries: Sequence[Brief | Entry]
    times: list[datetime]  # sorted

    @classmethod
    def of(cls, entries: Sequence[Brief | Entry]) -> Batch:
        """These entries."""
        times = [entry.time for entry in entries]
        times.sort()
        return cls(entries, times)


class Batches:
    """Reads what passes the filters."""

    def __init__(self, filters: Filters) -> None:
        self.lines = 0  # read, whether they pass or not
        self._finder = filters.rare_finder  # what most lines have is found faster by decoding many at a time
        self._matches = filters.matches()
        self._is_filtered = bool(filters.filters)
        self._reader = Reader(self._matches, self._finder)
        self.skipped = self._reader.skipped

    def read(self, source: Source) -> Iterator[Batch]:
        """The entries in all that a source has."""
        buffer = LineBuffer(self.skipped)
        blocks = chain(buffer.blocks(_Small(source)), buffer.rest())
        if self._finder is None:
            for data, begin, end in blocks:
                batch = self._decoded(data, begin, end)
                if batch is not None:
                    yield batch
            return
        hits = self._reader.hits(self._counted(blocks))
        while entries := [hit.entry for hit in islice(hits, _HITS)]:
            yield Batch.of(entries)

    def _counted(self, blocks: Iterator[tuple[bytearray, int, int]]) -> Iterator[tuple[bytearray, int, int]]:
        for block in blocks:
            self.lines += block[0].count(b"\n", block[1], block[2])
            yield block

    def _decoded(self, data: bytearray, begin: int, end: int) -> Batch | None:
        view = memoryview(data)[begin:end]
        lines = len(BytesIO(view).readlines())  # counts twice as fast as `count`
        self.lines += lines
        entries: Sequence[Brief | Entry] = ()
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            entries = _decode_lines(view) if self._is_filtered else _decode_briefly(view)
        if len(entries) == lines and _has_short_lines(data, begin, end):
            batch = Batch.of(entries)
            if batch.times[0].year >= FIRST_YEAR and batch.times[-1].year <= LAST_YEAR:
                if not self._is_filtered:
                    return batch
                found = [entry for entry in entries if isinstance(entry, Entry) and self._matches(entry)]
                return Batch.of(found) if found else None
        hits = [hit.entry for hit in self._reader.hits(iter([(data, begin, end)]))]
        return Batch.of(hits) if hits else None


class _Small:
    """A source that is read in small pieces: what a batch decodes then stays in the processor's cache."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readinto(self, into: memoryview, /) -> int | None:
        """As of `io.RawIOBase`."""
        return self._source.readinto(into[:_BATCH_BYTES])


def _has_short_lines(data: bytearray, begin: int, end: int) -> bool:
    """Whether each line is one that `Reader` reads."""
    while end - begin > MAX_LINE_BYTES:  # the last newline within each such distance
        begin = data.rfind(b"\n", begin, begin + MAX_LINE_BYTES + 1) + 1
        if not begin:
            return False
    return True
