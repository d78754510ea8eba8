"""`gateway logs --summary`: reads all that passes the filters, and shows what it counted."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway import clock
from gateway.access import exists, is_file
from gateway.errors import UsageError
from gateway.http.activesync import EasQueryError, parse_query
from gateway.logs.files import LogFile, reading
from gateway.logs.filters import Filters
from gateway.logs.reader import Skipped, Source
from gateway.logs.render import shown
from gateway.logs.summary.batches import Batches
from gateway.logs.summary.collect import Collector
from gateway.logs.summary.halves import Forked, Part, middle_of
from gateway.logs.summary.report import Lines, Report, report_of
from gateway.logs.summary.tables import Tables

PIPE_COLUMNS: Final = 100  # of text that isn't for a terminal


def collect(logs: Iterable[LogFile], filters: Filters, *, shows_all: bool) -> Report:
    """Read the logs. Lines from before `--since` are read too: they say what is new."""
    counting = _Counting(filters, shows_all=shows_all)
    for log in logs:
        with reading(log, counting.batches.skipped) as source:
            counting.read_halves(log, source)
    return counting.report()


class _Counting:
    """What was read and counted so far."""

    def __init__(self, filters: Filters, *, shows_all: bool) -> None:
        self._filters = filters
        self._shows_all = shows_all
        since = None if filters.since is None else datetime.fromtimestamp(filters.since, UTC)
        self._collector = Collector(since, shows_all=shows_all, command_of=activesync_command)
        self.batches = Batches(filters.without_since())

    def read(self, source: Source) -> None:
        """Count all that a source has."""
        for batch in self.batches.read(source):
            self._collector.add(batch)

    def read_halves(self, log: LogFile, source: Source) -> None:
        """Count all of a file; if it is large, with the help of a second process."""
        middle = middle_of(log)
        if middle is None:
            self.read(source)
            return
        with Forked(lambda: self._of_others(log, middle)) as other:
            self.read(Part(log, 0, middle))
            found = other.result()
        if found is None:
            self.read(Part(log, middle))
            return
        tables, lines, skipped = found
        self._collector.finish().merge(tables)
        self.batches.lines += lines
        mine = self.batches.skipped
        mine.unreadable += skipped.unreadable
        mine.too_long += skipped.too_long
        mine.combined += skipped.combined

    def _of_others(self, log: LogFile, middle: int) -> tuple[Tables, int, Skipped]:
        other = _Counting(self._filters, shows_all=self._shows_all)
        other.read(Part(log, middle))
        return other._collector.finish(), other.batches.lines, other.batches.skipped

    def report(self) -> Report:
        """All that was counted."""
        tables = self._collector.finish()
        skipped = self.batches.skipped
        lines = Lines(
            read=self.batches.lines,
            counted=tables.counted,
            earlier=tables.earlier,
            unreadable=skipped.unreadable,
            too_long=skipped.too_long,
            combined=skipped.combined,
            problems=tuple(skipped.problems),
        )
        until = None if self._filters.until is None else datetime.fromtimestamp(self._filters.until, UTC)
        return report_of(tables, lines, until)


def check_place(page: Path) -> None:
    """Raises an error if a page can't be written there: before the log is read, which may take minutes."""
    from gateway.logs.summary.page import PAGE_BEGIN  # noqa: PLC0415 - only for a page
    from gateway.pki import files  # noqa: PLC0415 - the same

    files.check_place(page)
    if not exists(page):
        return
    try:
        begin = b"no page"
        if is_file(page):
            with page.open("rb") as file:
                begin = file.read(len(PAGE_BEGIN))
    except OSError as error:
        raise UsageError(f"{page}: {error.strerror}", "Name a file that you may write to.") from error
    if begin not in {b"", PAGE_BEGIN}:
        raise UsageError(
            f"{page}: this file is not an HTML page, and would be overwritten", "Name a new file, such as summary.html."
        )


def show(report: Report, page: Path | None, *, as_json: bool) -> None:
    """Print it, or write it to a page."""
    if page is not None:
        from gateway.logs.summary.page import page_of  # noqa: PLC0415 - only for a page
        from gateway.pki import files  # noqa: PLC0415 - the same

        # It has people's names in it: the file's mode is 0600.
        files.write_private(page, page_of(report, clock.now()).encode())
        for problem in report.lines.problems:
            sys.stderr.write(f"gateway: {shown(problem)}\n")
        sys.stderr.write(f"gateway: {shown(str(page))} written\n")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if as_json:
        from gateway.logs.summary.as_json import json_of  # noqa: PLC0415 - only for JSON

        sys.stdout.writelines(json_of(report))
    elif page is None:
        sys.stdout.write(_text(report))
    sys.stdout.flush()


def _text(report: Report) -> str:
    from gateway.logs.summary.text import Screen, text_of  # noqa: PLC0415 - only for text

    if sys.stdout.isatty():
        has_colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        columns = shutil.get_terminal_size().columns
    else:
        has_colour, columns = False, PIPE_COLUMNS
    has_blocks = "utf" in (sys.stdout.encoding or "").lower()
    return text_of(report, Screen(columns, has_colour, has_blocks))


def activesync_command(query: str) -> str | None:
    """The command in the query of a request for ActiveSync."""
    try:
        return parse_query(query).command
    except EasQueryError:
        return None
