"""The summary as one JSON object, for scripts. The keys are an interface (docs/logs.md).

Keeps true: it is ASCII without control characters, whatever is in the log. Each count that may be too high has
`at_most_too_high` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from gateway.logs.summary.counters import Count
from gateway.logs.summary.report import FirstList, Person, Ranking, Report

ROWS: Final = 100  # of a ranking; lists of people, devices and certificates are complete


def json_of(report: Report) -> Iterator[str]:
    """The object, and a newline, in small pieces: together they may take more memory than all tables."""
    for piece in json.JSONEncoder(indent=1).iterencode(_object(report)):
        yield piece.replace("\x7f", "\\u007f")
    yield "\n"


def _object(report: Report) -> dict[str, Any]:
    lines = report.lines
    return {
        "period": {
            "since": _time(report.since),
            "until": _time(report.until),
            "first": _time(report.first),
            "last": _time(report.last),
        },
        "lines": {
            "read": lines.read,
            "earlier": lines.earlier,
            "counted": lines.counted,
            "unreadable": lines.unreadable,
            "too_long": lines.too_long,
            "combined": lines.combined,
            "problems": list(lines.problems),
        },
        "requests": report.requests,
        "let_in": report.let_in,
        "refused": report.refused,
        "browser_connections": report.dropped,
        "without_person": report.unnamed,
        "timeline": {
            "step_seconds": report.step,
            "steps": [
                {"begin": _time(bar.begin), "requests": bar.requests, "refusals": bar.refusals} for bar in report.bars
            ],
        },
        "reasons": [{"reason": each.key, **_count("refusals", each)} for each in report.reasons],
        "most_requests": {kind: _ranking("requests", each) for kind, each in report.requests_of.items()},
        "most_refusals": {kind: _ranking("refusals", each) for kind, each in report.refusals_of.items()},
        "people_by_reason": [_person(each) for each in report.people_refused[:ROWS]],
        "never_let_in": {
            "is_certain": report.is_never_certain,
            "people": [_person(each) for each in report.never_let_in],
        },
        "observed": {
            "is_complete": report.is_observed_exact,
            "rows": [
                {
                    "person": each.name if each.is_person else None,
                    "address": None if each.is_person else each.name,
                    "rule": each.rule,
                    "reason": each.reason,
                    **_count("requests", each.requests),
                    "last": _time(each.requests.last),
                    "has_certificate": each.has_certificate,
                }
                for each in report.observed
            ],
        },
        "first_seen": {
            "earliest_line": _time(report.earliest),
            "devices": _first("device", report.first_devices),
            "certificates": _first("fingerprint", report.first_certificates),
        },
        "slowest": {
            "is_exact": report.is_slowest_exact,
            "paths": [
                {
                    "path": each.path,
                    "requests": each.count,
                    "mean_ms": round(each.mean_ms, 3),
                    "longest_ms": round(each.longest_ms, 3),
                }
                for each in report.slowest[:ROWS]
            ],
            "pings": report.waiting,
        },
    }


def _time(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count(name: str, count: Count[Any]) -> dict[str, int]:
    return {name: count.count, "at_most_too_high": count.error}


def _ranking(name: str, ranking: Ranking) -> dict[str, Any]:
    return {
        "is_exact": ranking.is_exact,
        "known": len(ranking.rows),
        "rows": [{"name": each.key, **_count(name, each)} for each in ranking.rows[:ROWS]],
    }


def _person(person: Person) -> dict[str, Any]:
    return {
        "person": person.refusals.key,
        **_count("refusals", person.refusals),
        "last": _time(person.refusals.last),
        "reasons": [{"reason": each.key, **_count("refusals", each)} for each in person.reasons],
    }


def _first(name: str, found: FirstList) -> dict[str, Any]:
    return {
        "is_complete": found.is_complete,
        "rows": [
            {name: each.key, "time": _time(each.time), "person": each.person, "let_in": each.is_let_in}
            for each in found.rows
        ],
    }
