"""Times as people write them, in local time: here that of Berlin, on the day after the clocks went back."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from gateway.errors import UsageError
from gateway.logs.times import parse_duration, parse_since, parse_until

NOW = datetime(2026, 10, 26, 7, 30, tzinfo=UTC)  # 08:30 in Berlin


@pytest.fixture(autouse=True)
def _berlin(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def since(text: str) -> str:
    return datetime.fromtimestamp(parse_since(text, NOW), UTC).isoformat().removesuffix("+00:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h", "2026-10-26T06:30:00"),
        ("1h30m", "2026-10-26T06:00:00"),
        ("90s", "2026-10-26T07:28:30"),
        ("1.5h", "2026-10-26T06:00:00"),
        ("2d", "2026-10-24T07:30:00"),
        ("1w", "2026-10-19T07:30:00"),
        ("now", "2026-10-26T07:30:00"),
        ("07:00", "2026-10-26T06:00:00"),
        ("7:00", "2026-10-26T06:00:00"),
        ("08:30", "2026-10-26T07:30:00"),
        ("08:31", "2026-10-25T07:31:00"),  # it wasn't yet today
        ("23:59:59", "2026-10-25T22:59:59"),
        ("today", "2026-10-25T23:00:00"),
        ("Yesterday", "2026-10-24T22:00:00"),  # still summer at midnight
        ("2026-10-25", "2026-10-24T22:00:00"),
        ("2026-10-24 07:00", "2026-10-24T05:00:00"),
        ("2026-10-24T07:00:00.250", "2026-10-24T05:00:00.250000"),
        ("2026-10-24T07:00:00Z", "2026-10-24T07:00:00"),
        ("2026-10-24t07:00:00+05:30", "2026-10-24T01:30:00"),
    ],
)
def test_since(text, expected):
    assert since(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "1", "h", "1x", "-1h", "25:00", "07:60", "7", "tomorrow", "2026-13-01", "2026-10-24T07", "20261024"),
        *("2026-W43-1", "1h ago", "9999999999999h", "999999999w", "2026-10-24T07:00:00+25:00", "\u0661h", "07:00:00.5"),
    ],
)
def test_what_is_no_time_is_refused_with_what_to_write(text):
    with pytest.raises(UsageError, match=r"--since: .* is not a time") as raised:
        parse_since(text, NOW)
    for written in ("1h", "07:00", "yesterday", "2026-11-24", "2026-11-24 07:00", "2026-11-24T07:00:00Z"):
        assert written in raised.value.remedy
        parse_since(written, NOW)


def until(text: str, after: str | None = None) -> str:
    begin = None if after is None else parse_since(after, NOW)
    return datetime.fromtimestamp(parse_until(text, NOW, begin), UTC).isoformat().removesuffix("+00:00")


def test_until():
    assert until("07:00") == "2026-10-26T06:00:00"
    assert until("23:00") == "2026-10-25T22:00:00"
    assert until("23:00", "22:00") == "2026-10-25T22:00:00"
    assert until("06:00", "22:00") == "2026-10-26T05:00:00"
    assert until("09:00", "08:00") == "2026-10-26T08:00:00"  # is still to come
    assert until("1h", "2h") == "2026-10-26T06:30:00"


@pytest.mark.parametrize(("text", "after"), [("2h", "1h"), ("1h", "1h"), ("yesterday", "today")])
def test_until_is_after_since(text, after):
    with pytest.raises(UsageError, match=r"--until: .* is not after --since"):
        until(text, after)


def test_durations():
    assert [parse_duration("--slow", text) for text in ("2s", "500ms", "1m30s", "0.5s")] == [2.0, 0.5, 90.0, 0.5]
    for text in ("", "2", "s", "2 s", "-2s", "2s!", "1" * 20 + "s"):
        with pytest.raises(UsageError, match=r"--slow: .* is not a duration"):
            parse_duration("--slow", text)
