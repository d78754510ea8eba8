"""The summary as text, for a terminal or a pipe.

Keeps true: no line is wider than the terminal, and no character of a log acts on it (see `gateway.logs.render`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.logs.render import cell_count, fit, shown
from gateway.logs.summary import words
from gateway.logs.summary.counters import Count
from gateway.logs.summary.report import KINDS, FirstList, Ranking, Report

ROWS: Final = 10  # of a ranking
LIST_ROWS: Final = 40  # of a list of people, devices or certificates
MIN_COLUMNS: Final = 40
_MAX_BAR_CELLS: Final = 40
_MAX_NAME_CELLS: Final = 44
_MIN_NAME_CELLS: Final = 12
_INDENT: Final = "  "
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LEVELS: Final = "▁▂▃▄▅▆▇█"
_BOLD, _RED, _YELLOW, _CYAN, _DIM, _RESET = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Screen:
    """What the text is written for."""

    columns: int
    has_colour: bool
    has_blocks: bool = True  # whether it can show characters for bars


def text_of(report: Report, screen: Screen) -> str:
    """All of the summary."""
    return _Text(screen).whole(report)


class _Text:
    def __init__(self, screen: Screen) -> None:
        self._columns = max(MIN_COLUMNS, screen.columns)
        self._has_colour = screen.has_colour
        self._has_blocks = screen.has_blocks
        self._lines: list[str] = []

    def whole(self, report: Report) -> str:
        self._line(self._coloured(self._cut(words.title(report), self._columns), _BOLD))
        for fact in words.facts(report):
            self._note(fact)
        if report.requests:
            self._timeline(report)
            self._reasons(report)
            self._people(report)
            self._never(report)
            self._unready(report)
            self._first("Devices", report.first_devices, report)
            self._first("Certificates", report.first_certificates, report)
            for kind in KINDS:
                self._ranking(f"Most requests: {kind}", report.requests_of[kind], _CYAN)
            for kind in KINDS[1:]:
                self._ranking(f"Most refusals: {kind}", report.refusals_of[kind], _RED)
            self._slowest(report)
        return "\n".join(self._lines) + "\n"

    def _timeline(self, report: Report) -> None:
        if len(report.bars) < 2:
            return
        self._heading(f"Requests and refusals, by {words.step(report.step)}")
        ends = f"{words.local(report.bars[0].begin)} to {words.local(report.bars[-1].begin)}"
        for name, values, colour in (
            ("requests", [bar.requests for bar in report.bars], _CYAN),
            ("refusals", [bar.refusals for bar in report.bars], _RED),
        ):
            highest = max(values)
            cells = self._columns - 2 - len("requests") - 1
            line = self._sparkline(values, highest)[:cells]
            self._line(f"{_INDENT}{name} {self._coloured(line, colour)}{f' up to {highest:,}'[: cells - len(line)]}")
        self._note(ends)

    def _reasons(self, report: Report) -> None:
        if not report.reasons:
            return
        self._heading("Refusals by reason")
        whole = report.refused
        self._bars(report.reasons[:LIST_ROWS], _RED, share_of=whole)
        for each in report.reasons:
            if each.key in words.REASON_NOTES:
                self._note(f"{each.key}: {words.REASON_NOTES[each.key]}")

    def _people(self, report: Report) -> None:
        people = report.people_refused[:ROWS]
        if not people:
            return
        self._heading("Most refusals: people")
        cells = max(8, *(len(words.amount(each.refusals)) for each in people))
        name_cells = self._name_cells([each.refusals.key for each in people])
        codes: list[str] = []
        left = self._columns - len(_INDENT) - name_cells - 1 - cells
        totals: dict[str, int] = {}
        for person in people:
            for reason in person.reasons:
                totals[reason.key] = totals.get(reason.key, 0) + reason.count
        for code in sorted(totals, key=lambda code: (-totals[code], code)):
            width = max(len(shown(code)), 7) + 2
            if left < width + (9 if len(codes) + 1 < len(totals) else 0):
                break
            codes.append(code)
            left -= width
        has_others = len(codes) < len(totals)
        head = [fit("", name_cells), "refusals".rjust(cells), *(f"  {shown(code).rjust(7)}" for code in codes)]
        self._line(_INDENT + self._coloured(f"{head[0]} {''.join(head[1:])}{'   others' if has_others else ''}", _DIM))
        for person in people:
            found = {reason.key: reason for reason in person.reasons}
            parts = [
                fit(shown(person.refusals.key), name_cells),
                " ",
                self._coloured(words.amount(person.refusals).rjust(cells), _RED),
            ]
            for code in codes:
                each = found.pop(code, None)
                parts.append("  " + ("" if each is None else words.amount(each)).rjust(max(len(shown(code)), 7)))
            if has_others:
                others = sum(each.count for each in found.values())
                parts.append("  " + (f"{others:,}" if others else "").rjust(7))
            self._line((_INDENT + "".join(parts)).rstrip())
        self._more(len(report.people_refused) - len(people), "people")
        self._estimates(report.refusals_of["people"], (each.refusals for each in people))

    def _never(self, report: Report) -> None:
        if not report.people_refused:
            return
        self._heading(f"Never let in: {words.number(len(report.never_let_in))}")
        self._note(words.never_note(report))
        rows = report.never_let_in[:LIST_ROWS]
        self._table(
            [
                (
                    person.refusals.key,
                    words.amount(person.refusals),
                    words.last(person.refusals),
                    words.reasons(person),
                )
                for person in rows
            ],
            ("", "refusals", "last", "reasons"),
        )
        self._more(len(report.never_let_in) - len(rows), "people")

    def _unready(self, report: Report) -> None:
        if not report.observed:
            return
        self._heading(words.OBSERVED_HEADING)
        self._note(words.unready_note(report.observed))
        rows = words.unready_rows(report.observed, LIST_ROWS, ROWS)
        self._table(
            [
                (
                    each.name,
                    words.amount(each.requests),
                    words.last(each.requests),
                    words.certificate(each),
                    each.reason,
                    each.rule,
                )
                for each in rows
            ],
            ("", "requests", "last", "certificate", "reason", "rule"),
        )
        self._more(len(report.observed) - len(rows), "rows")
        if not report.is_observed_exact:
            self._note(words.OBSERVED_MISSING)

    def _first(self, what: str, found: FirstList, report: Report) -> None:
        if not found.rows:
            if report.since is not None:
                self._heading(f"{what} seen for the first time: 0")
            return
        limit = LIST_ROWS if report.since is not None else ROWS
        rows = found.rows[:limit]
        self._heading(f"{what} seen for the first time: {words.number(len(found.rows))}")
        self._note(words.first_note(found, report, what.lower()))
        self._table(
            [
                (each.person or "-", words.local(each.time), "let in" if each.is_let_in else "refused", each.key)
                for each in rows
            ],
            ("", "first line", "", what.lower()),
        )
        self._more(len(found.rows) - len(rows), what.lower())

    def _ranking(self, heading: str, ranking: Ranking, colour: str) -> None:
        if ranking.rows:
            rows = ranking.rows[:ROWS]
            self._heading(heading)
            self._bars(rows, colour)
            self._more(len(ranking.rows) - len(rows), heading.rpartition(" ")[2])
            self._estimates(ranking, rows)

    def _slowest(self, report: Report) -> None:
        if not report.slowest:
            return
        self._heading("Slowest paths")
        rows = report.slowest[:ROWS]
        self._table(
            [
                (each.path, words.duration(each.mean_ms), words.duration(each.longest_ms), f"{each.count:,}")
                for each in rows
            ],
            ("", "mean", "longest", "requests"),
        )
        self._more(len(report.slowest) - len(rows), "paths")
        for note in words.slowest_notes(report):
            self._note(note)

    def _bars(self, rows: Sequence[Count[str]], colour: str, share_of: int = 0) -> None:
        name_cells = self._name_cells([each.key for each in rows])
        numbers = [words.amount(each) for each in rows]
        shares = [f" {words.percent(each.count, share_of):>7}" if share_of else "" for each in rows]
        cells = max(map(len, numbers))
        bar_cells = min(_MAX_BAR_CELLS, self._columns - len(_INDENT) - name_cells - cells - 2 - len(shares[0]))
        highest = max(each.count for each in rows)
        for each, text, share in zip(rows, numbers, shares, strict=True):
            bar = self._bar(each.count, highest, bar_cells)
            line = f"{_INDENT}{fit(shown(each.key), name_cells)} {text.rjust(cells)}{share}"
            self._line(f"{line} {self._coloured(bar, colour)}" if bar else line)

    def _table(self, rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> None:
        """The first column is a name, the last one gets what is left."""
        if not rows:
            return
        texts = [tuple(map(shown, row)) for row in rows]
        name_cells = self._name_cells([row[0] for row in rows])
        middle = range(1, len(head) - 1)
        cells = [max(len(head[at]), *(cell_count(row[at]) for row in texts)) for at in middle]
        is_number = [all(_is_number(row[at]) for row in texts) for at in middle]
        while cells and sum(cells) + 2 * len(cells) + name_cells + len(_INDENT) > self._columns - len(head[-1]) - 2:
            cells.pop()  # a narrow terminal shows fewer columns
        left = self._columns - len(_INDENT) - name_cells - sum(cells) - 2 * len(cells) - 2
        for row, colour in ((head, _DIM), *((text, "") for text in texts)):
            parts = [fit(row[0], name_cells)]
            for text, width, is_right in zip(row[1:], cells, is_number, strict=False):
                parts.append(text.rjust(width) if is_right else fit(text, width))
            if len(cells) == len(middle):
                parts.append(fit(row[-1], left))
            self._line(_INDENT + self._coloured("  ".join(parts).rstrip(), colour))

    def _name_cells(self, names: Iterable[str]) -> int:
        most = min(_MAX_NAME_CELLS, max(_MIN_NAME_CELLS, self._columns * 2 // 5))
        return min(most, max([_MIN_NAME_CELLS, *(cell_count(shown(name)) for name in names)]))

    def _bar(self, value: int, highest: int, cells: int) -> str:
        if not self._has_blocks:
            return "#" * round(value / highest * cells)
        whole, part = divmod(max(1, round(value / highest * cells * 8)), 8)
        return "█" * whole + (_EIGHTHS[part] if part else "")

    def _sparkline(self, values: Sequence[int], highest: int) -> str:
        if not self._has_blocks:
            return "".join(" .:-=+*#"[min(7, value * 8 // (highest + 1))] for value in values)
        return "".join(_LEVELS[min(7, value * 8 // (highest + 1))] if value else " " for value in values)

    def _estimates(self, ranking: Ranking, rows: Iterable[Count[Any]]) -> None:
        note = words.estimate_note(rows)
        if note:
            self._note(note)
        elif not ranking.is_exact:
            self._note(words.SOME_MISSING)

    def _more(self, count: int, what: str) -> None:
        if count > 0:
            self._note(f"and {count:,} more {what}: --json has more rows")

    def _heading(self, text: str) -> None:
        self._lines.append("")
        self._line(self._coloured(self._cut(text, self._columns), _BOLD))

    def _note(self, text: str) -> None:
        """A sentence, on as many lines as it needs."""
        width = self._columns - len(_INDENT)
        for line in textwrap.wrap(shown(text), width):
            self._line(_INDENT + self._coloured(line, _DIM))

    def _cut(self, text: str, cells: int) -> str:
        return fit(shown(text), cells).rstrip()

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._has_colour and colour and text else text

    def _line(self, text: str) -> None:
        self._lines.append(text)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text.startswith(words.ABOUT)
