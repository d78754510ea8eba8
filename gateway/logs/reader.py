r"""From the bytes of access logs to the lines that match.

Keeps true: memory is constant, whatever a file holds; every line that matches is found, and how the bytes were split
into reads makes no difference. Lines that don't parse are counted and skipped; so are lines above `MAX_LINE_BYTES`.

A finder is a regular expression over the bytes of many lines, which RE2 searches ten times as fast as lines can be
parsed. It only chooses candidates: each of them is parsed, and the filters look at what it says. A finder may find too
much and never too little. Two more searches see to that: JSON can spell any letter as `\u…`, so a line with such an
escape is a candidate; and so is a line that doesn't begin with `{`, since it has no JSON keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import re2

from gateway.logs.entry import CombinedEntry, Entry, parse, parse_rest

BLOCK_BYTES: Final = 1024 * 1024  # of one read: larger ones are no faster, since they leave the processor's cache
# The writer's longest line: 28,672 characters that clients choose, of which each may become six bytes.
MAX_LINE_BYTES: Final = 256 * 1024

# A finder that finds so many lines costs more than it saves. Then blocks are read without it, and it is tried again.
MANY_FOUND: Final = 256  # of one block, which has about 1,000 lines: then the search in it ends
_MANY_PARTS: Final = 3  # one line of three
_BLOCKS_WITHOUT: Final = 7  # more only save trials, and are parsed for nothing where the finder finds little again

_ESCAPED: Final = rb"\\u"
_OTHER: Final = rb"\n[^{]"
# As the gateway's own lines begin. A finder that begins with it is three times as fast, but finds none of the other
# lines of JSON, so all of these are parsed.
BEGINNING: Final = b'{"time":"'
_OTHER_BEGINNINGS: Final = rb"\n(?:%b)" % b"|".join(
    re2.escape(BEGINNING[:place]) + b"[^%b]" % BEGINNING[place : place + 1] for place in range(len(BEGINNING))
)


class Source(Protocol):
    """What bytes come from: a file, a pipe, or what is unpacked from one."""

    def readinto(self, into: memoryview, /) -> int | None:
        """As of `io.RawIOBase`: 0 at the end."""


class Skipped(msgspec.Struct):
    """What was not read. Of the lines that a finder rules out by their bytes, only the torn ones are counted."""

    unreadable: int = 0  # torn, or of another program
    too_long: int = 0
    combined: int = 0  # lines in the combined format that were read: some filters can't match them
    problems: list[str] = msgspec.field(default_factory=list)  # files that could not be read to their end


class Hit(NamedTuple):
    """A line that matches, without its newline."""

    line: bytes
    entry: Entry


def compile_finder(pattern: bytes) -> Any:
    """A finder: `pattern` is RE2 syntax, over bytes."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return re2.compile(pattern, options)


class LineBuffer:
    """Bytes as they come, handed on as whole lines."""

    def __init__(self, skipped: Skipped, *, begins_inside_line: bool = False) -> None:
        self._data = bytearray(MAX_LINE_BYTES + BLOCK_BYTES + 1)
        self._view = memoryview(self._data)
        self._filled = 0
        self._skips_line = begins_inside_line  # drop everything up to the next newline
        self._skipped = skipped

    def blocks(self, source: Source) -> Iterator[tuple[bytearray, int, int]]:
        """Read up to what is now the end: a buffer, and where in it whole lines begin and end."""
        while count := source.readinto(self._view[self._filled : self._filled + BLOCK_BYTES]):
            seen = self._filled
            self._filled += count
            end = self._data.rfind(b"\n", seen, self._filled) + 1
            if end:
                begin = 0
                if self._skips_line:
                    begin = self._data.index(b"\n") + 1
                    self._skips_line = False
                if begin < end:
                    yield self._data, begin, end
                self._keep_from(end)
            if self._skips_line:
                self._filled = 0
            elif self._filled > MAX_LINE_BYTES:
                self._skipped.too_long += 1
                self._skips_line = True
                self._filled = 0

    def rest(self) -> Iterator[tuple[bytearray, int, int]]:
        """What stands behind the last newline, once nothing more will come."""
        if self._filled and not self._skips_line:
            self._data[self._filled] = ord("\n")
            yield self._data, 0, self._filled + 1
        self.forget()

    def forget(self) -> None:
        """Begin anew, at the beginning of a line."""
        self._filled = 0
        self._skips_line = False

    def _keep_from(self, end: int) -> None:
        left = self._filled - end
        self._data[:left] = self._data[end : self._filled]
        self._filled = left


class Reader:
    """Finds the lines for which `matches` says yes. Without a `finder`, each line is parsed."""

    def __init__(self, matches: Callable[[Entry], bool], finder: bytes | None = None) -> None:
        self.skipped = Skipped()
        self._matches = matches
        self._finders = [] if finder is None else [compile_finder(each).search for each in (finder, _ESCAPED)]
        is_of_beginning = finder is not None and finder.startswith(re2.escape(BEGINNING))
        self._beginning = BEGINNING if is_of_beginning else b"{"
        self._others = compile_finder(_OTHER_BEGINNINGS if is_of_beginning else _OTHER).search
        self._blocks_without = 0  # that are still to be read without the finder

    def read(self, source: Source, *, begins_inside_line: bool = False) -> Iterator[Hit]:
        """The hits in all that a source has."""
        buffer = LineBuffer(self.skipped, begins_inside_line=begins_inside_line)
        yield from self.hits(buffer.blocks(source))
        yield from self.hits(buffer.rest())

    def hits(self, blocks: Iterator[tuple[bytearray, int, int]]) -> Iterator[Hit]:
        """The hits in these lines, in their order."""
        for data, begin, end in blocks:
            for line in self._lines(data, begin, end):
                hit = self._judge(line)
                if hit is not None:
                    yield hit

    def _judge(self, line: bytes) -> Hit | None:
        if len(line) > MAX_LINE_BYTES:
            self.skipped.too_long += 1
            return None
        entry = parse(line)
        if entry is None:
            if not line.strip():
                return None
            self.skipped.unreadable += 1
            found = parse_rest(line)
            if found is None:
                return None
            line, entry = found
        elif type(entry) is CombinedEntry:
            self.skipped.combined += 1
        return Hit(line, entry) if self._matches(entry) else None

    def _lines(self, data: bytearray, begin: int, end: int) -> Iterable[bytes]:
        """The candidates: all lines if there is no finder."""
        view = memoryview(data)
        if not self._finders or self._blocks_without:
            self._blocks_without = max(0, self._blocks_without - 1)
            return bytes(view[begin : end - 1]).split(b"\n")
        found = []
        for search in self._finders:
            for place in _found(search, data, begin, end):
                found.append(place)
                if len(found) == MANY_FOUND and data.count(b"\n", begin, place[1] + 1) < MANY_FOUND * _MANY_PARTS:
                    self._blocks_without = _BLOCKS_WITHOUT
                    return bytes(view[begin : end - 1]).split(b"\n")
        if not data.startswith(self._beginning, begin):
            found.append((begin, data.index(b"\n", begin)))
        found += _found(self._others, data, begin, end, before=1)
        places = sorted(set(found)) if len(found) > 1 else found
        if len(places) > MANY_FOUND and data.count(b"\n", begin, end) < len(places) * _MANY_PARTS:
            self._blocks_without = _BLOCKS_WITHOUT  # many have no JSON
        return (bytes(view[start:stop]) for start, stop in places)


def _found(
    search: Callable[..., Any], data: bytearray, begin: int, end: int, before: int = 0
) -> Iterator[tuple[int, int]]:
    """The lines in which something is found. `before`: how many characters of the finding belong to the line before."""
    at = begin
    while (match := search(data, at, end)) is not None:
        place = match.start() + before
        stop = data.index(b"\n", place)
        yield max(begin, data.rfind(b"\n", begin, place) + 1), stop
        at = stop
