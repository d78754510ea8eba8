"""The times that people write, in local time: `1h`, `07:00`, `yesterday`, `2026-11-24`, RFC 3339."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final

from gateway.errors import UsageError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d(?::\d\d)?", re.ASCII)
_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
_MAX_DIGITS: Final = 12  # of a duration: more is a mistake, and may be more than a date can hold


def parse_duration(option: str, text: str) -> float:
    """Seconds, from `2s`, `500ms`, `1h30m`."""
    if _DURATION.fullmatch(text) is None or len(text) > _MAX_DIGITS:
        raise UsageError(f"{option}: {text!r} is not a duration", "write 2s, 500ms or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_since(text: str, now: datetime) -> float:
    """Unix seconds, of the last such moment before `now`."""
    return _parse("--since", text, now, lambda clock: _last_time(clock, now))


def parse_until(text: str, now: datetime, since: float | None) -> float:
    """Unix seconds. A time of day is the first one after `since`."""

    def clock_time(clock: time) -> datetime:
        if since is None:
            return _last_time(clock, now)
        start = datetime.fromtimestamp(since).astimezone()
        found = _local(start.date(), clock)
        return found if found > start else _local(start.date() + timedelta(days=1), clock)

    until = _parse("--until", text, now, clock_time)
    if since is not None and until <= since:
        raise UsageError(f"--until: {text!r} is not after --since", "write a later time")
    return until


def _parse(option: str, text: str, now: datetime, of_clock: Callable[[time], datetime]) -> float:
    try:
        return _moment(text.strip(), now.astimezone(), of_clock).timestamp()
    except (ValueError, OverflowError) as error:
        remedy = "write 1h, 07:00, yesterday, 2026-11-24, '2026-11-24 07:00' or 2026-11-24T07:00:00Z"
        raise UsageError(f"{option}: {text!r} is not a time", remedy) from error


def _moment(text: str, now: datetime, of_clock: Callable[[time], datetime]) -> datetime:
    words = {
        "now": now,
        "today": _local(now.date(), time()),
        "yesterday": _local(now.date() - timedelta(days=1), time()),
    }
    if (found := words.get(text.lower())) is not None:
        return found
    if _DURATION.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return now - timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    if _CLOCK.fullmatch(text):
        return of_clock(_clock(text))
    if _MOMENT.fullmatch(text):
        return datetime.fromisoformat(text.upper()).astimezone()
    raise ValueError(text)


def _clock(text: str) -> time:
    hour, minute, second = map(int, f"{text}:0".split(":")[:3])
    return time(hour, minute, second)


def _last_time(clock: time, now: datetime) -> datetime:
    today = _local(now.astimezone().date(), clock)
    return today if today <= now else _local(today.date() - timedelta(days=1), clock)


def _local(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock).astimezone()
