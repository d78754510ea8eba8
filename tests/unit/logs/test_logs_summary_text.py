"""The summary as text: what it says, how wide it is, and that nothing in it acts on a terminal."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta

import pytest
from rich.cells import cell_len
from support.log_lines import BEGIN, combined_of, identity_of, line_of
from support.summaries import summary_of, text_lines

from gateway.logs.summary import tables
from gateway.logs.summary.as_json import json_of
from gateway.logs.summary.text import Screen, text_of

HOSTILE = "evil\x1b]0;title\x07\x9b2J\u202e\x7f<script>"


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def refused(seconds: float = 0.0, reason: str = "certificate_missing", **values) -> bytes:
    return line_of(seconds, status=403, reason=reason, detail="because", **values)


def foreign(**values) -> bytes:
    """A line whose text the gateway would have escaped."""
    return json.dumps({"time": "2026-11-24T07:00:09Z", **values}, ensure_ascii=False).encode() + b"\n"


LINES = (
    *(
        line_of(number * 60, user="フジ子@example.com", device_id="D1", uri=f"/owa/{number % 3}")
        for number in range(60)
    ),
    *(refused(number, user="bob", login="basic") for number in range(40)),
    *(refused(number, "certificate_expired", user="carla@example.com") for number in range(4)),
    refused(50, "handshake_failed: no shared cipher", method=None, uri=None),
    line_of(60, user="carla@example.com", observed="certificate_missing", rule="Phones, from March on"),
    line_of(61, observed="certificate_missing", rule="Phones, from March on"),
    line_of(62, user="dora", identity=identity_of("Dora", fingerprint="d" * 64), device_id="D2"),
    line_of(63, user="dora", observed="certificate_missing", rule="Phones, from March on"),
    line_of(64, user="eva", status=401, login="basic"),
    line_of(65, uri="/Microsoft-Server-ActiveSync?Cmd=Ping&User=a&DeviceId=b&DeviceType=c"),
    b"torn\n",
)


def section(lines: list[str], heading: str) -> list[str]:
    begin = next(at for at, line in enumerate(lines) if line.startswith(heading))
    rest = lines[begin + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_it_begins_with_the_period_and_what_was_read():
    lines = text_lines(*LINES)
    assert lines[:5] == [
        "Access log, 2026-11-24 07:00 to 2026-11-24 07:59",
        "  112 lines read",
        "  111 requests: 65 let in, 46 refused (41.4 %)",
        "  3 requests without a login and a certificate belong to no person",
        "  1 line skipped: torn, or not of an access log",
    ]


def test_reasons_have_bars_and_shares():
    lines = section(text_lines(*LINES), "Refusals by reason")
    assert lines[0] == "  certificate_missing 40  87.0 % " + "█" * 40
    assert lines[1] == "  certificate_expired  4   8.7 % " + "█" * 4
    assert "  login_refused: the mail server answered 401 to a login" in lines


def test_people_by_reason():
    lines = section(text_lines(*LINES), "Most refusals: people")
    assert lines[0].split() == ["refusals", "certificate_missing", "certificate_expired", "login_refused"]
    assert [line.split() for line in lines[1:]] == [
        ["bob", "40", "40"],
        ["carla@example.com", "4", "4"],
        ["eva", "1", "1"],
    ]
    narrow = section(text_lines(*LINES, columns=60), "Most refusals: people")
    assert narrow[0].split() == ["refusals", "certificate_missing", "others"]
    assert narrow[2].split() == ["carla@example.com", "4", "4"]


def test_never_let_in():
    lines = section(text_lines(*LINES), "Never let in: 2")
    assert lines[0] == "  Refused, and not let in once in this period."
    assert lines[2].split() == ["bob", "40", "2026-11-24", "07:00", "certificate_missing", "40"]
    everybody = section(text_lines(refused(1, user="a"), line_of(2, user="a")), "Never let in: 0")
    assert everybody == ["  Each person that was refused was also let in."]


def test_rules_in_observation():
    lines = section(text_lines(*LINES), "Rules in observation")
    assert " ".join(line.strip() for line in lines[:2]).startswith(
        "1 person has no certificate that was accepted; 1 person has one, and also came without it; "
        "1 address named no person."
    )
    text = "\n".join(section(text_lines(*LINES, columns=120), "Rules in observation"))
    assert re.search(r"carla@example.com +1 +2026-11-24 07:01 +none +certificate_missing +Phones, from March on", text)
    assert re.search(r"dora +1 +2026-11-24 07:01 +elsewhere ", text)


def test_what_first_means_is_said():
    everything = " ".join(" ".join(text_lines(*LINES)).split())
    assert "What was in use before the first line, 2026-11-24 07:00, is not known: --since TIME lists" in everything
    later = " ".join(text_lines(*LINES, columns=200, since=BEGIN + timedelta(seconds=62)))
    assert "No line from 2026-11-24 07:00 to 2026-11-24 07:01 has these devices." in later
    assert "Certificates seen for the first time: 1" in later
    nothing = " ".join(text_lines(line_of(5, device_id="D"), since=BEGIN))
    assert "No line is from before 2026-11-24 07:00, so each of the devices seems new." in nothing
    none = text_lines(line_of(5), since=BEGIN)
    assert "Devices seen for the first time: 0" in none


def test_slowest_paths():
    slow = line_of(90, uri="/slow", duration_ms=2500.0), line_of(91, uri="/slower", duration_ms=200_000.0)
    lines = section(text_lines(*LINES, *slow), "Slowest paths")
    assert [line.split() for line in lines[1:]][-3:-1] == [
        ["/slower", "3", "min", "3", "min", "1"],
        ["/slow", "2.5", "s", "2.5", "s", "1"],
    ]
    assert lines[-1] == "  Without 1 Ping of ActiveSync, which wait for new mail"


def test_estimates_are_told(monkeypatch):
    monkeypatch.setattr(tables, "MAX_KEYS", 2)
    monkeypatch.setattr(tables, "MAX_ADDRESSES", 2)
    monkeypatch.setattr(tables, "MAX_REFUSED", 2)
    lines = [refused(number, user=f"u{number}", client_ip=f"10.0.0.{number}") for number in range(20)]
    text = "\n".join(
        text_lines(*lines, *(line_of(number, user="alice") for number in range(30)), refused(1, user="u3"))
    )
    assert re.search(r"u\d+ +~\d+ ", text)
    assert re.search(r"~ about: \d+ is at most \d+ too high, the others are no worse", text)
    monkeypatch.setattr(tables, "MAX_LET_IN", 2)
    monkeypatch.setattr(tables, "MAX_PEOPLE", 2)
    many = [line_of(number, user=f"u{number}", device_id=f"D{number}") for number in range(9)]
    text = " ".join(" ".join(text_lines(*many, *lines)).split())
    assert "Refused, and probably not let in: there were too many names to remember all." in text
    assert "There were too many devices to remember all: some may be missing." in text


def test_where_all_shown_are_exact_others_may_be_missing(monkeypatch):
    monkeypatch.setattr(tables, "MAX_KEYS", 20)
    monkeypatch.setattr(tables, "MAX_ADDRESSES", 20)
    monkeypatch.setattr(tables, "MAX_REFUSED", 20)
    known = [line_of(number, client_ip=f"10.0.0.{number % 10}") for number in range(200)]
    strangers = [line_of(number, client_ip=f"10.0.1.{number}") for number in range(30)]
    text = " ".join(" ".join(text_lines(*known, *strangers)).split())
    assert "There are more than could be counted: these are exact, others are not listed." in text


@pytest.mark.parametrize("columns", [20, 40, 53, 80, 100, 240])
def test_no_line_is_wider_than_the_terminal(columns):
    hostile = foreign(
        user=HOSTILE, device_id="界" * 90, uri="/" + "界" * 90, status=403, reason="r" * 90, rule="x" * 90
    )
    lines = text_lines(*LINES, hostile, foreign(user="界" * 90, observed=HOSTILE, rule="界" * 90), columns=columns)
    assert max(map(cell_len, lines)) <= max(columns, 40)


def test_nothing_in_it_acts():
    values = {"user": HOSTILE, "device_id": HOSTILE, "cert_subject": f"CN={HOSTILE}", "rule": HOSTILE, "uri": HOSTILE}
    lines = (
        foreign(**values, status=403, reason=HOSTILE, cert_fingerprint=HOSTILE, client_ip=HOSTILE),
        foreign(**values, status=200, observed=HOSTILE, duration_ms=1, client_ip=HOSTILE),
    )
    assert "".join(text_lines(*lines)).isprintable()
    assert "evil\\x1b]0;title" in "".join(text_lines(*lines))
    as_json = "".join(json_of(summary_of(*lines)))
    assert as_json.replace("\n", "").isprintable()
    assert as_json.isascii()
    assert json.loads(as_json)["never_let_in"]["people"] == []


def test_colours_and_bars_are_only_where_they_can_be_shown():
    assert "\x1b[31m" in "".join(text_lines(*LINES, has_colour=True))
    plain = text_of(summary_of(*LINES), Screen(100, has_colour=False, has_blocks=False))
    assert "certificate_missing 40  87.0 % " + "#" * 40 in plain
    assert not set("█▏▁") & set(plain)


def test_nothing_found():
    assert text_lines() == ["Access log: no line found", "  0 lines read"]
    found = text_lines(line_of(1), until=None, since=BEGIN + timedelta(days=1))
    assert found[1] == "  1 line read, 1 of them from before 2026-11-25 07:00"


def test_filters_and_other_formats_are_told():
    lines = text_lines(*LINES, combined_of(70, user="alice"), user="bob")
    assert lines[1] == "  113 lines read; 40 pass the filters"
    combined = text_lines(combined_of(70, user="alice"))
    assert "  1 line in the combined format: no reason, certificate, device and duration" in combined


def test_json_has_these_keys():
    found = json.loads("".join(json_of(summary_of(*LINES, refused(99, user="carla@example.com")))))
    assert list(found) == [
        *("period", "lines", "requests", "let_in", "refused", "browser_connections", "without_person", "timeline"),
        *("reasons", "most_requests", "most_refusals", "people_by_reason", "never_let_in", "observed", "first_seen"),
        "slowest",
    ]
    assert found["period"] == {
        "since": None,
        "until": None,
        "first": "2026-11-24T07:00:00.000Z",
        "last": "2026-11-24T07:59:00.000Z",
    }
    assert found["lines"] == {
        "read": 113,
        "earlier": 0,
        "counted": 112,
        "unreadable": 1,
        "too_long": 0,
        "combined": 0,
        "problems": [],
    }
    assert found["reasons"][0] == {"reason": "certificate_missing", "refusals": 41, "at_most_too_high": 0}
    assert found["most_requests"]["devices"]["rows"][0] == {"name": "D1", "requests": 60, "at_most_too_high": 0}
    assert found["never_let_in"]["people"][0] == {
        "person": "bob",
        "refusals": 40,
        "at_most_too_high": 0,
        "last": "2026-11-24T07:00:39.000Z",
        "reasons": [{"reason": "certificate_missing", "refusals": 40, "at_most_too_high": 0}],
    }
    assert found["observed"]["rows"][0] == {
        "person": "carla@example.com",
        "address": None,
        "rule": "Phones, from March on",
        "reason": "certificate_missing",
        "requests": 1,
        "at_most_too_high": 0,
        "last": "2026-11-24T07:01:00.000Z",
        "has_certificate": False,
    }
    assert found["first_seen"]["devices"]["rows"][0] == {
        "device": "D2",
        "time": "2026-11-24T07:01:02.000Z",
        "person": "dora",
        "let_in": True,
    }
    assert found["first_seen"]["certificates"]["rows"][0]["fingerprint"] == "d" * 64
    assert found["slowest"]["paths"][0] == {"path": "/owa/0", "requests": 20, "mean_ms": 1.0, "longest_ms": 1.0}
    assert found["slowest"]["pings"] == 1
