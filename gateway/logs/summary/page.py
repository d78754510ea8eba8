"""The summary as a page: one file, for people without a terminal.

Keeps true: the page has no script and loads nothing, and all text of a log in it is escaped, so that no browser takes
it for markup. It is readable in light and dark, and on paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Final

from gateway.logs.render import shown
from gateway.logs.summary import words
from gateway.logs.summary.chart import timeline_chart
from gateway.logs.summary.counters import Count
from gateway.logs.summary.page_style import STYLE
from gateway.logs.summary.report import KINDS, FirstList, Ranking, Report

ROWS: Final = 15  # of a ranking
LIST_ROWS: Final = 500  # of a list of people, devices or certificates
_MAX_REASONS: Final = 5  # columns of the table of people
PAGE_BEGIN: Final = b"<!DOCTYPE html>"
_HEAD: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
"""


def page_of(report: Report, now: datetime) -> str:
    """The whole page. `now` is when it was made."""
    title = _text(words.title(report))
    sections = "".join(_sections(report)) if report.requests else ""
    return (
        f"{_HEAD}<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{title}</h1>\n{_notes(words.facts(report))}</header>\n{_tiles(report)}<main>\n{sections}</main>\n"
        f"<footer>Made by <code>gateway logs --summary</code>, {words.local(now)}. Times are local.</footer>\n"
        "</body>\n</html>\n"
    )


def _sections(report: Report) -> Iterable[str]:
    if len(report.bars) > 1:
        heading = f"Requests and refusals, by {words.step(report.step)}"
        yield _section(heading, timeline_chart(report.bars, report.step), is_wide=True)
    yield _reasons(report)
    yield _ranking("Most requests: people", report.requests_of["people"], "requests")
    if report.people_refused:
        yield _people(report)
        yield _never(report)
    if report.observed:
        yield _unready(report)
    yield _first("Devices", report.first_devices, report)
    yield _first("Certificates", report.first_certificates, report)
    for kind in KINDS[1:]:
        yield _ranking(f"Most requests: {kind}", report.requests_of[kind], "requests")
        yield _ranking(f"Most refusals: {kind}", report.refusals_of[kind], "refused")
    if report.slowest:
        yield _slowest(report)


def _reasons(report: Report) -> str:
    if not report.reasons:
        return ""
    rows = report.reasons[:LIST_ROWS]
    notes = [f"{each.key}: {words.REASON_NOTES[each.key]}" for each in rows if each.key in words.REASON_NOTES]
    return _section("Refusals by reason", _bars(rows, "refused", share_of=report.refused) + _notes(notes))


def _tiles(report: Report) -> str:
    people = report.requests_of["people"]
    known = f"{len(people.rows):,}" if people.is_exact else f"more than {len(people.rows):,}"
    tiles = [
        ("Requests", words.number(report.requests), ""),
        ("Let in", words.number(report.let_in), "good"),
        ("Refused", f"{words.number(report.refused)}", "bad"),
        ("People", known, ""),
        ("Never let in", words.number(len(report.never_let_in)), "bad" if report.never_let_in else ""),
    ]
    if report.observed:
        waiting = {each.name for each in report.observed if each.is_person and not each.has_certificate}
        tiles.append(("Without a certificate yet", words.number(len(waiting)), ""))
    inner = "".join(
        f'<div class="tile {kind}"><span class="value">{_text(value)}</span><span>{_text(name)}</span></div>\n'
        for name, value, kind in tiles
    )
    return f'<div class="tiles">\n{inner}</div>\n'


def _people(report: Report) -> str:
    people = report.people_refused[:ROWS]
    totals: dict[str, int] = {}
    for person in people:
        for reason in person.reasons:
            totals[reason.key] = totals.get(reason.key, 0) + reason.count
    codes = sorted(totals, key=lambda code: (-totals[code], code))[:_MAX_REASONS]
    has_others = len(totals) > len(codes)
    rows = []
    for person in people:
        found = {reason.key: reason for reason in person.reasons}
        cells = [person.refusals.key, words.amount(person.refusals)]
        cells += [words.amount(found.pop(code)) if code in found else "" for code in codes]
        if has_others:
            others = sum(each.count for each in found.values())
            cells.append(f"{others:,}" if others else "")
        rows.append(cells)
    head = ["", "refusals", *codes, *(["others"] if has_others else [])]
    body = _table(head, rows, range(1, len(head))) + _more(len(report.people_refused) - len(people), "people")
    body += _estimates(report.refusals_of["people"], [each.refusals for each in people])
    return _section("Most refusals: people", body, is_wide=True)


def _never(report: Report) -> str:
    rows = report.never_let_in[:LIST_ROWS]
    cells = [
        (each.refusals.key, words.amount(each.refusals), words.last(each.refusals), words.reasons(each))
        for each in rows
    ]
    body = _notes([words.never_note(report)]) + _table(("", "refusals", "last", "reasons"), cells, (1,))
    body += _more(len(report.never_let_in) - len(rows), "people")
    return _section(f"Never let in: {words.number(len(report.never_let_in))}", body, is_wide=True)


def _unready(report: Report) -> str:
    rows = words.unready_rows(report.observed, LIST_ROWS, ROWS)
    cells = [
        (
            each.name,
            words.amount(each.requests),
            words.last(each.requests),
            words.certificate(each),
            each.reason,
            each.rule,
        )
        for each in rows
    ]
    notes = [words.unready_note(report.observed)]
    if not report.is_observed_exact:
        notes.append(words.OBSERVED_MISSING)
    body = _notes(notes) + _table(("", "requests", "last", "certificate", "reason", "rule"), cells, (1,))
    body += _more(len(report.observed) - len(rows), "rows")
    return _section(words.OBSERVED_HEADING, body, is_wide=True)


def _first(what: str, found: FirstList, report: Report) -> str:
    if not found.rows and report.since is None:
        return ""
    rows = found.rows[: LIST_ROWS if report.since is not None else ROWS]
    cells = [
        (each.person or "-", words.local(each.time), "let in" if each.is_let_in else "refused", each.key)
        for each in rows
    ]
    body = _notes([words.first_note(found, report, what.lower())]) if rows else ""
    body += _table(("", "first line", "", what.lower()), cells, ()) + _more(len(found.rows) - len(rows), what.lower())
    return _section(f"{what} seen for the first time: {words.number(len(found.rows))}", body, is_wide=True)


def _ranking(heading: str, ranking: Ranking, kind: str) -> str:
    if not ranking.rows:
        return ""
    rows = ranking.rows[:ROWS]
    more = _more(len(ranking.rows) - len(rows), heading.rpartition(" ")[2])
    return _section(heading, _bars(rows, kind) + more + _estimates(ranking, rows))


def _slowest(report: Report) -> str:
    rows = report.slowest[:ROWS]
    cells = [
        (each.path, words.duration(each.mean_ms), words.duration(each.longest_ms), f"{each.count:,}") for each in rows
    ]
    notes = words.slowest_notes(report)
    body = _table(("", "mean", "longest", "requests"), cells, (1, 2, 3))
    return _section("Slowest paths", body + _more(len(report.slowest) - len(rows), "paths") + _notes(notes))


def _bars(rows: Sequence[Count[str]], kind: str, share_of: int = 0) -> str:
    highest = max(each.count for each in rows)
    lines = []
    for each in rows:
        share = f'<td class="number">{words.percent(each.count, share_of)}</td>' if share_of else ""
        width = max(0.5, 100 * each.count / highest)
        bar = (
            '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="{kind}" width="{width:.2f}" height="8"/></svg>'
        )
        lines.append(
            f'<tr><th scope="row">{_text(each.key)}</th><td class="number">{_text(words.amount(each))}</td>{share}'
            f'<td class="bar">{bar}</td></tr>\n'
        )
    return f'<table class="bars">\n{"".join(lines)}</table>\n'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int]) -> str:
    if not rows:
        return ""
    right = set(numbers)
    classes = [_class(text, is_number=at in right) for at, text in enumerate(head)]
    heads = "".join(f"<th{kind}>{_breakable(text)}</th>" for kind, text in zip(classes, head, strict=True))
    lines = []
    for row in rows:
        cells = [f"<td{kind}>{_breakable(text)}</td>" for kind, text in zip(classes[1:], row[1:], strict=True)]
        lines.append(f'<tr><th scope="row">{_text(row[0])}</th>{"".join(cells)}</tr>\n')
    body = "".join(lines)
    return f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'


def _class(head: str, *, is_number: bool) -> str:
    if is_number:
        return ' class="number"'
    return ' class="when"' if head in words.TIMES else ""


def _breakable(text: str) -> str:
    """A code or a list of codes, which may go on in the next line behind an underscore."""
    return _text(text).replace("_", "_<wbr>")


def _section(heading: str, body: str, *, is_wide: bool = False) -> str:
    return f"<section{' class=wide' if is_wide else ''}>\n<h2>{_text(heading)}</h2>\n{body}</section>\n"


def _notes(notes: Iterable[str]) -> str:
    return "".join(f"<p>{_text(note)}</p>\n" for note in notes)


def _more(count: int, what: str) -> str:
    return f"<p>and {count:,} more {what}</p>\n" if count > 0 else ""


def _estimates(ranking: Ranking, rows: Iterable[Count[str]]) -> str:
    note = words.estimate_note(rows) or ("" if ranking.is_exact else words.SOME_MISSING)
    return _notes([note]) if note else ""


def _text(text: str) -> str:
    """Text of a log: what isn't printable is escaped as on a terminal, and then what is markup."""
    return escape(shown(text))
