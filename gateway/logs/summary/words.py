"""The words and numbers that the text and the page of a summary share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.logs.filters import HANDSHAKE_FAILED
from gateway.logs.reader import MAX_LINE_BYTES
from gateway.logs.summary.counters import Count
from gateway.logs.summary.groups import LOGIN_REFUSED
from gateway.logs.summary.report import FirstList, Person, Report, Unready

ABOUT: Final = "~"  # before a number that may be too high
REASON_NOTES: Final = {
    LOGIN_REFUSED: "the mail server answered 401 to a login",
    HANDSHAKE_FAILED: "no request came",
}
TIMES: Final = ("last", "first line")  # heads of columns with times
OBSERVED_HEADING: Final = "Rules in observation: refused, once they are enforced"
OBSERVED_MISSING: Final = "There are too many to count all: some are missing."
SOME_MISSING: Final = "There are more than could be counted: these are exact, others are not listed."
_SECOND_MS: Final = 1000
_MINUTE_MS: Final = 60 * _SECOND_MS


def number(value: int) -> str:
    """`1,200`."""
    return f"{value:,}"


def amount(count: Count[Any]) -> str:
    """`1,200`, or `~1,200` for an estimate."""
    return f"{ABOUT if count.error else ''}{count.count:,}"


def estimate_note(counts: Iterable[Count[Any]]) -> str:
    """What `~` means in a table with these counts; empty if all are exact."""
    errors = [each for each in counts if each.error]
    if not errors:
        return ""
    worst = max(errors, key=lambda each: each.error)
    return f"{ABOUT} about: {worst.count:,} is at most {worst.error:,} too high, the others are no worse"


def plural(count: int, noun: str) -> str:
    """`1 line`, `2 lines`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(part: int, whole: int) -> str:
    """`3.5 %`."""
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def local(time: datetime) -> str:
    """`2026-11-24 07:00`, local time."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M")


def duration(milliseconds: float) -> str:
    """`40 ms`, `2.5 s`, `15 min`."""
    if milliseconds < _SECOND_MS:
        return f"{milliseconds:.0f} ms"
    if milliseconds < _MINUTE_MS:
        return f"{milliseconds / _SECOND_MS:.1f} s"
    return f"{milliseconds / _MINUTE_MS:.0f} min"


def step(seconds: int) -> str:
    """`10 minutes`, `hour`, `7 days`."""
    unit, length = next(each for each in (("day", 86400), ("hour", 3600), ("minute", 60)) if seconds >= each[1])
    return unit if seconds == length else plural(seconds // length, unit)


def title(report: Report) -> str:
    """The period."""
    if report.first is None or report.last is None:
        return "Access log: no line found"
    return f"Access log, {local(report.first)} to {local(report.last)}"


def facts(report: Report) -> list[str]:
    """What was read and counted, a sentence each."""
    lines = report.lines
    found = [f"{plural(lines.read, 'line')} read"]
    if report.since is not None:
        found[0] += f", {number(lines.earlier)} of them from before {local(report.since)}"
    if lines.counted + lines.earlier < lines.read - lines.unreadable - lines.too_long:
        found[0] += f"; {number(lines.counted)} pass the filters"
    requests = f"{plural(report.requests, 'request')}: {number(report.let_in)} let in, {number(report.refused)} refused"
    if report.requests:
        found.append(f"{requests} ({percent(report.refused, report.requests)})")
    if report.unnamed:
        found.append(f"{plural(report.unnamed, 'request')} without a login and a certificate belong to no person")
    if report.dropped:
        found.append(f"{plural(report.dropped, 'connection')} that browsers opened and didn't need: not counted below")
    return found + skipped(report)


def skipped(report: Report) -> list[str]:
    """What was not read."""
    lines = report.lines
    found = []
    if lines.unreadable:
        found.append(f"{plural(lines.unreadable, 'line')} skipped: torn, or not of an access log")
    if lines.too_long:
        found.append(f"{plural(lines.too_long, 'line')} skipped: longer than {MAX_LINE_BYTES // 1024} KiB")
    if lines.combined:
        found.append(
            f"{plural(lines.combined, 'line')} in the combined format: no reason, certificate, device and duration"
        )
    return [*found, *lines.problems]


def reasons(person: Person) -> str:
    """`certificate_missing 12, login_refused 3`."""
    return ", ".join(f"{each.key} {amount(each)}" for each in person.reasons)


def last(count: Count[Any]) -> str:
    """When it was counted the last time, local time."""
    return "" if count.last is None else local(count.last)


def certificate(row: Unready) -> str:
    """Whether the person has a certificate."""
    return "elsewhere" if row.has_certificate else "none" if row.is_person else ""


def unready_rows(rows: Sequence[Unready], people: int, addresses: int) -> list[Unready]:
    """So many of the people, and of the addresses that named no person."""
    return [
        *[each for each in rows if each.is_person][:people],
        *[each for each in rows if not each.is_person][:addresses],
    ]


def slowest_notes(report: Report) -> list[str]:
    """What the list of slow paths is worth."""
    found = []
    if not report.is_slowest_exact:
        found.append("There are too many paths to count all: numbers are of those on which most time was spent.")
    if report.waiting:
        found.append(f"Without {plural(report.waiting, 'Ping')} of ActiveSync, which wait for new mail")
    return found


def never_note(report: Report) -> str:
    """What the list of people that were never let in is worth."""
    if not report.never_let_in:
        return "Each person that was refused was also let in."
    if report.is_never_certain:
        return "Refused, and not let in once in this period."
    return "Refused, and probably not let in: there were too many names to remember all."


def first_note(found: FirstList, report: Report, what: str) -> str:
    """What "first" is relative to."""
    if report.since is None or report.earliest is None:
        begin = "the first line" if report.earliest is None else f"the first line, {local(report.earliest)}"
        text = f"The newest first. What was in use before {begin}, is not known"
        text += f": --since TIME lists the {what} that no line before TIME has."
    elif report.earliest >= report.since:
        text = f"No line is from before {local(report.since)}, so each of the {what} seems new. Add older files."
    else:
        text = f"No line from {local(report.earliest)} to {local(report.since)} has these {what}."
    return text if found.is_complete else f"{text} There were too many {what} to remember all: some may be missing."


def unready_note(rows: Sequence[Unready]) -> str:
    """Who has no certificate yet, in a sentence."""
    people = {each.name for each in rows if each.is_person}
    ready = {each.name for each in rows if each.has_certificate}
    addresses = {each.name for each in rows if not each.is_person}
    parts = [f"{_people(len(people - ready))} no certificate that was accepted"]
    if ready:
        parts.append(f"{_people(len(ready))} one, and also came without it")
    if addresses:
        parts.append(f"{len(addresses):,} address{'' if len(addresses) == 1 else 'es'} named no person")
    return "; ".join(parts) + "."


def _people(count: int) -> str:
    return "1 person has" if count == 1 else f"{count:,} people have"
