"""A summary reads many lines at once. It finds the same entries as line by line, wherever reads are split."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from support.log_lines import BEGIN, combined_of, line_of

from gateway.logs.filters import Asked, filters_of
from gateway.logs.reader import Reader
from gateway.logs.summary.batches import Batches

LINE = line_of(1, user="alice", site="a.example.com")
PIECES = st.lists(
    st.sampled_from(
        (
            LINE,
            line_of(2, user="bob", site="b.example.com", reason="no_rule", status=403),
            combined_of(3, user="carla"),
            LINE[:40],
            LINE[40:],
            LINE[: LINE.index(b"null")],
            b"\n",
            b"\r\n",
            b"{}\n",
            b'{"time":"0001-01-01T00:00:00Z"}\n',
            b'{"time":"9999-01-01T00:00:00Z","user":"alice"}\n',
            b'{"time":\n"2026-11-24T07:00:00Z"}\n',
            b"\xff\n",
        )
    ),
    max_size=12,
)


class Split:
    """A source that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def readinto(self, into: memoryview, /) -> int:
        return self._file.readinto(into[: self._size])


@given(PIECES, st.integers(1, 2000), st.sampled_from(({}, {"site": "a.example.com"}, {"user": "alice"})))
def test_batches_are_what_the_reader_finds(pieces, size, asked):
    data = b"".join(pieces)
    filters = filters_of(Asked(**asked), BEGIN)
    reader = Reader(filters.matches(), filters.rare_finder)
    expected = [(hit.entry.time, hit.entry.user, hit.entry.uri) for hit in reader.read(io.BytesIO(data))]
    batches = Batches(filters)
    found = list(batches.read(Split(data, size)))
    assert [(entry.time, entry.user, entry.uri) for batch in found for entry in batch.entries] == expected
    assert all(batch.times == sorted(entry.time for entry in batch.entries) for batch in found)
    counts = (batches.skipped.unreadable, batches.skipped.too_long, batches.skipped.combined)
    assert counts == (reader.skipped.unreadable, reader.skipped.too_long, reader.skipped.combined)
    assert batches.lines == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
