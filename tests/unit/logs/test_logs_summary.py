"""What a summary counts: small logs, with numbers that can be counted by hand."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from support.log_lines import BEGIN, combined_of, identity_of, line_of
from support.summaries import collected, summary_of

from gateway.logs.reader import MAX_LINE_BYTES
from gateway.logs.summary import buffers, tables
from gateway.logs.summary.report import Report

DROPPED = "handshake_failed: the client closed the connection during the handshake"
EAS = "/Microsoft-Server-ActiveSync?Cmd={}&User=alice&DeviceId=D1&DeviceType=iPhone"


def alice(seconds: float = 0.0, **values) -> bytes:
    return line_of(seconds, **{"user": "alice@example.com", "login": "basic"} | values)


def refused(seconds: float = 0.0, reason: str = "certificate_missing", **values) -> bytes:
    return line_of(seconds, status=403, reason=reason, detail="because", **values)


def counts(ranking) -> dict[str, int]:
    return {each.key: each.count for each in ranking.rows}


def names(people) -> list[str]:
    return [each.refusals.key for each in people]


def fingerprint(letter: str) -> str:
    return letter * 64


@pytest.fixture
def report() -> Report:
    return summary_of(
        alice(1, device_id="D1"),
        alice(2, device_id="D1", client_ip="203.0.113.10"),
        alice(3, status=401),
        refused(4, user="bob", login="basic"),
        refused(5, user="bob", reason="certificate_expired"),
        refused(6, user="bob"),
        refused(7, client_ip="198.51.100.1"),
        refused(8, reason=DROPPED, method=None, uri=None, request_id=None),
        line_of(9, client_ip="2001:db8::1"),
        line_of(10, client_ip="2001:db8::2"),
        b"torn\n",
    )


def test_requests_and_refusals(report):
    assert (report.requests, report.let_in, report.refused) == (9, 4, 5)
    assert (report.dropped, report.unnamed) == (1, 3)
    assert {each.key: each.count for each in report.reasons} == {
        "certificate_missing": 3,
        "certificate_expired": 1,
        "login_refused": 1,
    }


def test_people_addresses_and_devices(report):
    assert counts(report.requests_of["people"]) == {"alice@example.com": 3, "bob": 3}
    assert counts(report.refusals_of["people"]) == {"alice@example.com": 1, "bob": 3}
    assert counts(report.requests_of["addresses"])["2001:db8::/64"] == 2
    assert counts(report.refusals_of["addresses"]) == {"203.0.113.9": 4, "198.51.100.1": 1}
    assert counts(report.requests_of["devices"]) == {"D1": 2}


def test_a_person_by_reason_and_people_that_were_never_let_in(report):
    assert names(report.people_refused) == ["bob", "alice@example.com"]
    bob = report.people_refused[0]
    assert {each.key: each.count for each in bob.reasons} == {"certificate_missing": 2, "certificate_expired": 1}
    assert bob.refusals.last == BEGIN + timedelta(seconds=6)
    assert names(report.never_let_in) == ["bob"]
    assert report.is_never_certain


def test_the_period_and_the_lines(report):
    assert (report.first, report.last) == (BEGIN + timedelta(seconds=1), BEGIN + timedelta(seconds=10))
    assert (report.lines.read, report.lines.counted, report.lines.unreadable) == (11, 10, 1)


def test_a_refused_login_is_a_401_to_a_login_and_not_the_first_step_of_ntlm():
    report = summary_of(
        *(alice(number, status=401, login=login) for number, login in enumerate(("basic", "connection", "none", None))),
    )
    assert (report.requests, report.let_in, report.refused) == (4, 0, 1)
    assert names(report.never_let_in) == ["alice@example.com"]


def test_all_counts_connections_that_browsers_dropped():
    report = summary_of(refused(1, reason=DROPPED), shows_all=True)
    assert (report.dropped, report.refused, report.reasons[0].key) == (0, 1, "handshake_failed")


def test_names_that_were_let_in_together_are_one_person():
    anna = identity_of("Anna Schmidt", email="anna.schmidt@example.com", fingerprint=fingerprint("a"))
    report = summary_of(
        line_of(1, user="EXAMPLE\\anna", identity=anna),
        line_of(2, identity=anna),
        refused(3, user="EXAMPLE\\ANNA"),
        refused(4, user="bob"),
        line_of(5, user="bob@example.com"),
        refused(6, user="carla"),
        line_of(7, user="carla@example.com"),
        line_of(8, user="carla@example.org"),
    )
    assert counts(report.requests_of["people"]) == {
        "anna.schmidt@example.com": 3,
        "bob@example.com": 2,
        "carla": 1,
        "carla@example.com": 1,
        "carla@example.org": 1,
    }
    assert names(report.never_let_in) == ["carla"]


def test_a_certificate_that_was_refused_or_is_shared_joins_no_names():
    shared = identity_of("Office phone", fingerprint=fingerprint("a"))
    report = summary_of(
        line_of(1, user="anna", identity=shared),
        line_of(2, user="bob", identity=shared),
        line_of(3, identity=shared),
        refused(4, user="mallory", identity=identity_of("Boss", email="boss@example.com", fingerprint="b" * 64)),
        line_of(5, user="boss@example.com"),
    )
    people = counts(report.requests_of["people"])
    assert people == {"anna": 1, "bob": 1, "Office phone": 1, "mallory": 1, "boss@example.com": 1}


def test_what_is_seen_for_the_first_time_since_then():
    since = BEGIN + timedelta(hours=1)
    old, new = (
        identity_of(name, email=f"{name}@example.com", fingerprint=fingerprint(name[0])) for name in ("anna", "bob")
    )
    lines = (
        alice(1, device_id="OLD", identity=old),
        refused(2, user="bob", device_id="TRIED"),
        alice(3601, device_id="OLD", identity=old),
        alice(3602, device_id="NEW", identity=new),
        refused(3603, user="bob", device_id="TRIED"),
        refused(3604, user="mallory", device_id="STRANGE"),
        alice(3605, device_id="NEW"),
    )
    report = summary_of(*lines, since=since)
    found = [(each.key, each.person, each.is_let_in) for each in report.first_devices.rows]
    assert found == [("STRANGE", "mallory", False), ("NEW", "alice@example.com", True)]
    assert report.first_devices.rows[1].time == BEGIN + timedelta(seconds=3602)
    assert [each.key for each in report.first_certificates.rows] == [fingerprint("b")]
    assert (report.requests, report.lines.earlier, report.earliest) == (5, 2, BEGIN + timedelta(seconds=1))
    assert len(summary_of(*lines).first_devices.rows) == 4


def test_strangers_do_not_fill_the_table_of_devices_that_were_let_in(monkeypatch):
    monkeypatch.setattr(tables, "MAX_KEYS", 8)
    monkeypatch.setattr(tables, "MAX_ADDRESSES", 8)
    monkeypatch.setattr(tables, "MAX_REFUSED", 8)
    lines = [refused(number, device_id=f"X{number}") for number in range(50)]
    report = summary_of(*lines, alice(60, device_id="D1"))
    assert report.first_devices.rows[0].key == "D1"
    assert not report.first_devices.is_complete


def test_rules_in_observation_by_person():
    has_one = identity_of("carla", email="carla@example.com", fingerprint=fingerprint("c"))
    report = summary_of(
        *(line_of(number, user="bob", observed="certificate_missing", rule="Phones") for number in range(3)),
        line_of(4, user="bob", observed="certificate_expired", rule="Phones"),
        line_of(5, user="carla@example.com", observed="certificate_missing", rule="Phones"),
        line_of(6, user="carla@example.com", identity=has_one, rule="Phones"),
        line_of(7, client_ip="2001:db8::7", observed="certificate_missing", rule="Webmail"),
    )
    assert [
        (each.name, each.is_person, each.rule, each.reason, each.requests.count, each.has_certificate)
        for each in report.observed
    ] == [
        ("bob", True, "Phones", "certificate_missing", 3, False),
        ("bob", True, "Phones", "certificate_expired", 1, False),
        ("carla@example.com", True, "Phones", "certificate_missing", 1, True),
        ("2001:db8::/64", False, "Webmail", "certificate_missing", 1, False),
    ]
    assert report.observed[0].requests.last == BEGIN + timedelta(seconds=2)


def test_an_observed_certificate_is_none_that_was_accepted():
    expired = identity_of("bob", email="bob@example.com", fingerprint=fingerprint("b"))
    report = summary_of(line_of(1, identity=expired, observed="certificate_expired", rule="Phones"))
    assert [(each.name, each.has_certificate) for each in report.observed] == [("bob@example.com", False)]


def test_slowest_paths_without_what_waits_and_what_was_refused():
    report = summary_of(
        *(line_of(number, uri=f"/owa?number={number}", duration_ms=100.0) for number in range(6)),
        line_of(10, uri="/rare", duration_ms=9000.0),
        line_of(11, uri=EAS.format("Ping"), duration_ms=900_000.0),
        line_of(12, uri=EAS.format("Sync"), duration_ms=50.0),
        line_of(13, uri="/socket", status=101, duration_ms=900_000.0),
        line_of(14, uri="/microsoft-server-activesync?", duration_ms=1.0),
        refused(15, uri="/slow", duration_ms=60_000.0),
    )
    assert [(each.path, each.count, each.mean_ms) for each in report.slowest] == [
        ("/owa", 6, 100.0),
        ("/rare", 1, 9000.0),
        ("/Microsoft-Server-ActiveSync Sync", 1, 50.0),
        ("/microsoft-server-activesync", 1, 1.0),
    ]
    assert report.waiting == 1


def test_the_timeline_has_all_steps_and_all_requests():
    report = summary_of(
        line_of(0), line_of(1, status=401, login="basic"), refused(2 * 3600), refused(2, reason=DROPPED)
    )
    assert report.step == 600
    assert [(bar.requests, bar.refusals) for bar in report.bars] == [(2, 1), *[(0, 0)] * 11, (1, 1)]
    assert report.bars[0].begin == BEGIN
    days = summary_of(*(line_of(day * 86400) for day in range(0, 200, 2)))
    assert days.step > 86400
    assert sum(bar.requests for bar in days.bars) == 100


def test_filters_apply_and_the_bytes_need_not_be_plain():
    lines = [alice(number, site="a.example.com", uri="/owa") for number in range(3)] + [
        alice(number, site="b.example.com", uri="/ecp", host="b.example.com") for number in range(10, 12)
    ]
    assert summary_of(*lines, site="b.example.com").requests == 2
    assert summary_of(*lines, user="alice", uri="/owa").requests == 3
    assert summary_of(*lines, user="bob").requests == 0
    assert summary_of(*lines, b"torn\n", site="a.example.com").requests == 3
    assert summary_of(*lines, site="c.example.com").first is None
    assert summary_of(*lines, user="alice").lines.read == 5


def test_blocks_with_other_lines_are_read_as_by_the_reader():
    whole = alice(1)
    middle = whole.index(b'"reason"')
    report = summary_of(
        whole,
        whole[:middle] + alice(2),  # a torn head before a whole line
        b"\n",
        combined_of(3, user="bob"),
        b'{"time":"1969-11-24T07:00:00Z"}\n',
        b'{"time":"2026-11-24T07:00:04Z","status":200,"padding":"' + b"x" * MAX_LINE_BYTES + b'"}\n',
        b'{"time":"2026-11-24T07:00:05Z","status":200,\n"method":"GET"}\n',
        whole.rstrip(b"\n"),
    )
    lines = report.lines
    assert (report.requests, lines.read) == (4, 9)
    assert (lines.unreadable, lines.too_long, lines.combined) == (4, 1, 1)


def test_a_line_that_is_too_long_is_skipped_in_a_block_without_other_faults():
    long = json.dumps({"time": "2026-11-24T07:00:04Z", "padding": "x" * MAX_LINE_BYTES}).encode() + b"\n"
    assert summary_of(alice(1), long, alice(2)).lines.too_long == 1
    assert summary_of(b'{"time":"9999-11-24T07:00:00Z"}\n').lines.unreadable == 1


def test_names_without_end_take_no_memory(monkeypatch):
    monkeypatch.setattr(tables, "MAX_KEYS", 16)
    monkeypatch.setattr(tables, "MAX_ADDRESSES", 16)
    monkeypatch.setattr(tables, "MAX_REFUSED", 16)
    monkeypatch.setattr(tables, "MAX_LET_IN", 16)
    monkeypatch.setattr(tables, "MAX_PEOPLE", 16)
    monkeypatch.setattr(buffers, "MAX_GROUPS", 16)
    monkeypatch.setattr(buffers, "MAX_URIS", 16)
    lines = [
        line
        for number in range(300)
        for line in (
            refused(number, user=f"u{number}", device_id=f"d{number}", client_ip=f"10.0.{number % 256}.{number}"),
            line_of(
                number,
                user=f"v{number}",
                uri=f"/{number}",
                observed="certificate_missing",
                rule=f"r{number}",
                identity=identity_of(f"c{number}", fingerprint=f"{number:064x}"),
            ),
        )
    ]
    _, found = collected(*lines)
    counters = [
        *(table for kind in (found.people, found.addresses, found.devices) for table in (kind.requests, kind.refusals)),
        *(found.people_by_reason, found.people_let_in, found.people_with_certificate, found.observed),
        *(found.first_devices.let_in, found.first_devices.refused, found.first_devices.people),
        *(found.first_certificates.let_in, found.first_certificates.people),
    ]
    assert max(map(len, counters)) <= 16
    report = summary_of(*lines)
    assert (report.requests, report.refused) == (600, 300)
    assert not report.is_never_certain
    assert any(each.error for each in report.requests_of["people"].rows)


def test_long_values_are_cut():
    report = summary_of(line_of(1, user="x" * 1000, device_id="d" * 1000, uri="/" + "p" * 5000))
    texts = (
        report.requests_of["people"].rows[0].key,
        report.requests_of["devices"].rows[0].key,
        report.slowest[0].path,
    )
    assert {len(text) for text in texts} == {128}
    assert all(text.endswith("…") for text in texts)


def test_earlier_lines_without_end_take_no_memory(monkeypatch):
    monkeypatch.setattr(buffers, "MAX_GROUPS", 4)
    lines = [alice(number, device_id=f"D{number % 9}") for number in range(60)]
    report = summary_of(*lines, refused(61, reason=DROPPED), since=BEGIN + timedelta(seconds=55))
    assert (report.lines.earlier, report.requests, report.first_devices.rows) == (55, 5, ())
    assert summary_of(*lines, refused(59, reason=DROPPED), since=BEGIN + timedelta(seconds=70)).first is None


def test_a_client_that_is_no_address_is_counted_as_it_stands():
    lines = [line_of(number, client_ip=text) for number, text in enumerate(("x:y", "unix", "::ffff:10.0.0.1"))]
    assert set(counts(summary_of(*lines).requests_of["addresses"])) == {"x:y", "unix", "10.0.0.1"}
