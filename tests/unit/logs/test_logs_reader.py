"""Every line that matches is found, in constant memory; what can't be read is counted."""

from __future__ import annotations

import io
import tracemalloc

import re2
from support.log_lines import combined_of, line_of

from gateway.logs.entry import Entry
from gateway.logs.reader import BEGINNING, BLOCK_BYTES, MANY_FOUND, MAX_LINE_BYTES, Reader

BOB = rb"(?i)bob"


def is_bob(entry: Entry) -> bool:
    return entry.user == "bob"


def found(data: bytes, finder: bytes | None = BOB, matches=is_bob):
    reader = Reader(matches, finder)
    return [hit.line + b"\n" for hit in reader.read(io.BytesIO(data))], reader.skipped


def long_line(length: int, **values) -> bytes:
    """A valid line of so many bytes, without its newline."""
    line = line_of(**values).rstrip(b"\n")
    return line[:-1] + b',"more":"' + b"x" * (length - len(line) - 10) + b'"}'


def test_lines_that_match_come_in_their_order_byte_for_byte():
    lines = [line_of(second, user="bob" if second % 3 else "alice") for second in range(20)]
    for finder in (BOB, None):
        hits, skipped = found(b"".join(lines), finder)
        assert hits == [line for second, line in enumerate(lines) if second % 3]
        assert skipped.unreadable == 0


def test_a_finder_only_chooses_candidates():
    assert found(line_of(user="alice", uri="/bob"))[0] == []


def test_a_finder_of_beginnings_leaves_lines_that_begin_otherwise_to_be_parsed():
    usual = line_of(user="bob")
    assert usual.startswith(BEGINNING)
    time = usual[: usual.index(b",")].removeprefix(b"{")
    others = [
        usual.replace(BEGINNING, b'{"time": "'),
        usual.replace(BEGINNING, b'{ "time":"'),
        usual.replace(time + b",", b"").replace(b"}", b"," + time + b"}"),
        usual.replace(BEGINNING, b'{"tim":1,"time":"'),
        usual.replace(BEGINNING, b'{"t\\u0069me":"'),
    ]
    finder = re2.escape(BEGINNING) + rb"2099"
    for first in (usual, *others):  # the first line of a block has no line before it
        hits, skipped = found(b"".join([first, *others, usual]), finder)
        assert hits == ([] if first is usual else [first]) + others
        assert skipped.unreadable == 0
    assert found(usual, rb'\{"time":"2')[0] == [usual]


def test_letters_that_are_spelled_as_escapes_are_found():
    line = line_of(user="bob").replace(b'"bob"', b'"b\\u006fb"')
    assert found(line)[0] == [line]


def test_a_last_line_without_its_end_counts():
    line = line_of(user="bob")
    assert found(line + line.rstrip(b"\n"))[0] == [line, line]


def test_lines_with_carriage_returns_and_empty_ones():
    line = line_of(user="bob").replace(b"\n", b"\r\n")
    hits, skipped = found(b"\n" + line + b"\r\n\n" + line)
    assert hits == [line, line]
    assert skipped.unreadable == 0


def test_torn_and_foreign_lines_are_counted_and_skipped_whether_a_finder_finds_them_or_not():
    line = line_of(user="bob")
    torn = line_of(user="alice", uri="/torn")
    data = line + torn[:200] + line + torn[200:] + b"bob is a word\n" + line
    for finder in (BOB, None):
        hits, skipped = found(data, finder)
        assert hits == [line, line, line]
        assert skipped.unreadable == 3  # the head, its rest, the words


def test_lines_in_the_combined_format_are_read_and_counted():
    line = combined_of(user="bob")
    hits, skipped = found(combined_of(user="alice") + line + line_of(user="bob"))
    assert hits == [line, line_of(user="bob")]
    assert (skipped.combined, skipped.unreadable) == (2, 0)


def test_a_line_as_long_as_is_read_is_and_one_byte_more_is_not():
    line = line_of(user="bob")
    longest = long_line(MAX_LINE_BYTES, user="bob") + b"\n"
    for finder in (BOB, None):
        hits, skipped = found(line + longest + line, finder)
        assert (hits, skipped.too_long) == ([line, longest, line], 0)
        hits, skipped = found(line + long_line(MAX_LINE_BYTES + 1, user="bob") + b"\n" + line, finder)
        assert (hits, skipped.too_long) == ([line, line], 1)


def test_a_line_without_end_takes_no_memory_and_hides_no_other_one():
    line = line_of(user="bob")
    data = line + long_line(5 * BLOCK_BYTES, user="bob") + b"\n" + line
    hits, skipped = found(data)
    assert (hits, skipped.too_long) == ([line, line], 1)


def test_a_line_across_two_blocks_is_one_line():
    line = line_of(user="bob")
    filler = line_of(user="alice")
    data = filler * (BLOCK_BYTES // len(filler)) + line * 2000 + filler
    hits, skipped = found(data)
    assert (len(hits), skipped.unreadable, skipped.too_long) == (2000, 0, 0)


class Endless:
    """As many lines as are asked for."""

    def __init__(self, line: bytes, blocks: int) -> None:
        self.block = line * (BLOCK_BYTES // len(line))
        self.blocks = blocks

    def readinto(self, into: memoryview) -> int:
        self.blocks -= 1
        count = min(len(into), len(self.block)) if self.blocks >= 0 else 0
        into[:count] = self.block[:count]
        return count


def test_memory_is_constant():
    reader = Reader(is_bob, BOB)
    for _ in reader.read(Endless(line_of(user="alice"), 2)):
        pass
    tracemalloc.start()
    for _ in reader.read(Endless(line_of(user="alice"), 40)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * BLOCK_BYTES


def test_a_finder_that_finds_nearly_every_line_is_set_aside_and_no_line_is_missed():
    bobs, others = line_of(1, user="bob"), line_of(2, user="alice")
    count = BLOCK_BYTES // len(others)
    data = others * count + bobs * (2 * MANY_FOUND) + others * count * 3 + bobs + others * count * 40 + bobs
    hits, skipped = found(data)
    assert len(hits) == 2 * MANY_FOUND + 2
    assert skipped.unreadable == 0
    torn = b"{torn\n"
    hits, skipped = found(bobs * count * 2 + torn * 2 + others * count * 40 + torn)
    assert len(hits) == count * 2
    assert skipped.unreadable == 2  # the last one was passed over: the finder was tried again
