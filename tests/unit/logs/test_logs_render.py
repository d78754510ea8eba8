"""What people see of a log: aligned in the terminal's cells, and nothing in it that acts."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len
from support.log_lines import identity_of, line_of

from gateway.logs.entry import Entry, parse
from gateway.logs.render import (
    PIPE_COLUMNS,
    Table,
    fit,
    is_harmless,
    plain_line,
    row_of,
    shown,
    shown_json,
    who_of,
    widths_for,
)

HOSTILE = "evil\x1b[31m\u202e\u202c\x07\r\n\x9b2J\x7f\ufeff\u200b\t"
ALICE = identity_of("Alice", email="alice@example.com")


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    import time  # noqa: PLC0415 - for the zone only

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def entry_of(seconds: float = 0.0, **values) -> Entry:
    entry = parse(line_of(seconds, **values))
    assert entry is not None
    return entry


def foreign(**values) -> Entry:
    """A line whose text nothing has made harmless."""
    entry = parse(json.dumps({"time": "2026-11-24T07:00:00Z", **values}).encode())
    assert entry is not None
    return entry


def table(columns: int, *entries: Entry, has_colour: bool = False) -> list[str]:
    written: list[str] = []
    rows = Table(written.append, columns, has_colour=has_colour)
    for entry in entries:
        rows.add(entry)
    rows.flush()
    return written


def test_a_refused_request_on_a_wide_terminal():
    detail = "expired 2026-01-31"
    entry = entry_of(
        status=403, reason="certificate_expired", detail=detail, rule="Outside", identity=ALICE, uri="/a?b"
    )
    (line,) = table(200, entry)
    assert line.split() == [
        *("2026-11-24", "07:00:00", "203.0.113.9", "403", "certificate_expired:", "expired", "2026-01-31"),
        *("Outside", "alice@example.com", "GET", "/a"),
    ]


@pytest.mark.parametrize("columns", [80, 100, 119, 120, 160, 240])
def test_columns_are_aligned_and_no_line_is_wider_than_the_terminal(columns):
    values = {"status": 403, "reason": "no_rule", "detail": "x" * 300, "rule": "規則" * 30, "device_id": "D" * 40}
    lines = table(
        columns,
        entry_of(1, uri="/" + "a" * 400, user="日本語" * 20, **values),
        entry_of(2, uri="/" + "é\u0301" * 200, user="e\u0301" * 40, **values),
        entry_of(3, client_ip="2001:db8:1111:2222:3333:4444:5555:6666", uri="/" + "👩🏽" * 100, user="x", **values),
        entry_of(4, client_ip="::1", uri="/b", **values),
    )
    assert all(cell_len(line.rstrip("\n")) <= columns for line in lines)
    requests = [cell_len(line.partition("GET")[0]) for line in lines]
    assert len(set(requests[:2])) == len(set(requests[2:])) == 1


def test_a_terminal_too_narrow_has_the_least_widths():
    assert widths_for(10) == widths_for(45)
    assert widths_for(80).rule == widths_for(80).device == 0
    assert widths_for(240).rule > 0
    assert widths_for(240).device > 0


def test_repeats_are_counted():
    entries = [entry_of(second, uri=f"/a?{second}") for second in range(3)]
    lines = table(120, *entries, entry_of(3, uri="/b"))
    assert [line.split()[4] for line in lines] == ["×3", "GET"]
    assert lines[0].startswith("2026-11-24 07:00:00 ")


def test_a_repeat_after_a_flush_is_shown_again():
    written: list[str] = []
    rows = Table(written.append, 120, has_colour=False)
    rows.flush()
    for _ in range(2):
        rows.add(entry_of())
        rows.flush()
        rows.flush()
    assert len(written) == 2


def test_colours_say_what_was_refused_and_what_would_be():
    colours = {"\x1b[31m": {"reason": "no_rule", "status": 403}, "\x1b[33m": {"observed": "no_rule"}}
    for colour, values in colours.items():
        (line,) = table(120, entry_of(**values), has_colour=True)
        assert colour in line
        assert "\x1b" not in table(120, entry_of(**values))[0]
    assert "\x1b[31m" in table(120, entry_of(status=502), has_colour=True)[0]
    assert "\x1b[31m" not in table(120, entry_of(status=404), has_colour=True)[0]


def test_reasons_in_words():
    assert row_of(entry_of(reason="no_rule", detail="because")).reason == "no_rule: because"
    assert row_of(entry_of(reason="no_rule")).reason == "no_rule"
    failed = entry_of(reason="handshake_failed: timeout", detail="timeout", method=None, uri=None, status=None)
    assert row_of(failed).reason == "handshake_failed: timeout"
    assert (row_of(failed).status, row_of(failed).request) == ("-", "-")
    assert row_of(entry_of(observed="certificate_missing")).reason == "would be certificate_missing"
    assert row_of(entry_of()).reason == ""


def test_who_is_the_login_and_the_certificates_holder_if_it_is_another():
    assert who_of(entry_of()) == ""
    assert who_of(entry_of(user="bob")) == "bob"
    assert who_of(entry_of(identity=ALICE)) == "alice@example.com"
    assert who_of(entry_of(identity=identity_of("Alice"))) == "Alice"
    for user in ("Alice@example.com", "alice", "EXAMPLE\\Alice"):
        assert who_of(entry_of(identity=ALICE, user=user)) == user
    assert (
        who_of(entry_of(identity=ALICE, user="alice@example.org"))
        == "alice@example.org (certificate alice@example.com)"
    )
    assert who_of(entry_of(identity=ALICE, user="bob")) == "bob (certificate alice@example.com)"


def test_plain_text_has_its_columns_always():
    line = plain_line(entry_of(0.5, reason="handshake_failed: x", detail="x", identity=ALICE, uri="/a?b"))
    assert dict(zip(PIPE_COLUMNS, line.split("\t"), strict=True)) == {
        "time": "2026-11-24T07:00:00.500+00:00",
        "address": "203.0.113.9",
        "status": "200",
        "reason": "handshake_failed",
        "detail": "x",
        "rule": "-",
        "who": "alice@example.com",
        "device": "-",
        "method": "GET",
        "uri": "/a?b",
    }
    assert plain_line(entry_of(observed="no_rule")).split("\t")[3] == "observed:no_rule"
    assert plain_line(foreign()).split("\t")[1:] == ["-"] * 9


@pytest.mark.parametrize(
    "key", ["client_ip", "method", "uri", "reason", "detail", "observed", "rule", "user", "device_id"]
)
def test_nothing_in_a_line_acts(key):
    entry = foreign(**({"reason": "no_rule"} if key == "detail" else {}) | {key: HOSTILE})
    (line,) = table(300, entry)
    for text in (line.removesuffix("\n"), plain_line(entry).replace("\t", "")):
        assert text.isprintable()
        assert "evil" in text


def test_json_on_a_terminal_is_the_same_json_without_what_acts():
    line = json.dumps(
        {"time": "2026-11-24T07:00:00Z", "user": "\u202e\x9b\x7f\U000e0041é日"}, ensure_ascii=False
    ).encode()
    text = shown_json(line + b"\r")
    assert text.isprintable()
    assert json.loads(text) == json.loads(line)
    assert "é日" in text
    assert shown_json(b'{"a":"b"}') == '{"a":"b"}'
    assert shown_json(b"\xff\x1b").isprintable()


def test_harmless_are_connections_that_browsers_drop():
    assert is_harmless(entry_of(reason="handshake_failed: the client closed the connection during the handshake"))
    assert is_harmless(entry_of(reason="handshake_failed: the client went away during the handshake"))
    assert is_harmless(entry_of(reason="http_1_1_required"))
    assert not is_harmless(entry_of(reason="handshake_failed: no shared cipher"))
    assert not is_harmless(entry_of())


def test_what_is_printable_stays():
    assert shown("日本語 e\u0301 ü") == "日本語 e\u0301 ü"
    assert shown("a\x1bb\u202ec\ud800") == r"a\x1bb\u202ec\ud800"


@pytest.mark.parametrize(
    ("text", "cells", "expected"), [("abc", 5, "abc  "), ("abcdef", 4, "abc…"), ("日本", 4, "日本")]
)
def test_fit(text, cells, expected):
    assert fit(text, cells) == expected
    assert cell_len(fit("日本語", cells)) == cells
