"""A line is an entry or nothing, whatever it holds."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from support.log_lines import BEGIN, REQUEST_ID, combined_of, identity_of, line_of

from gateway.logs.entry import CombinedEntry, Entry, parse, parse_rest

MUTATIONS = 3000


def test_a_line_of_the_gateway_is_read():
    identity = identity_of("Alice", email="alice@example.com")
    entry = parse(line_of(1.5, identity=identity, user="alice", reason="no_rule", detail="no rule", rule="x"))
    assert entry is not None
    assert (entry.request_id, entry.client_ip, entry.status) == (REQUEST_ID, "203.0.113.9", 200)
    assert (entry.user, entry.reason, entry.detail, entry.rule) == ("alice", "no_rule", "no rule", "x")
    assert (entry.cert_email, entry.common_name) == ("alice@example.com", "Alice")
    assert entry.written == BEGIN.timestamp() + 1.5 + 0.001


def test_a_line_of_an_older_version_lacks_keys():
    assert parse(b'{"time":"2026-11-24T07:00:00Z","status":200}') == Entry(time=BEGIN, status=200)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{", b"{}", b"[1]", b'{"time":null}', b'{"time":"2026-11-24T07:00:00"}', b'{"time":"yesterday"}'),
        *(b'{"time":"2026-11-24T07:00:00Z","status":"200"}', b'{"time":"2026-11-24T07:00:00Z"} {}'),
        *(b'{"time":"2026-11-24T07:00:00Z","user":"\xff"}', b'{"time":"2026-11-24T07:00:00Z","user":"\\ud800"}'),
        b'{"time":"2026-11-24T07:00:00Z","x":' + b"[" * 100_000,
        *(b"some words", b'127.0.0.1 - - [24/Foo/2026:07:00:00 +0000] "GET / HTTP/1.1" 200 5'),
        b'127.0.0.1 - - [31/Feb/2026:07:00:00 +0000] "GET / HTTP/1.1" 200 5',
        b'127.0.0.1 - - [24/Nov/2026:07:00:00 +9900] "GET / HTTP/1.1" 200 5',
        b'127.0.0.1 - - [01/Jan/0001:00:00:00 +0100] "GET / HTTP/1.1" 200 5',
        b'127.0.0.1 - - [31/Dec/9999:00:00:00 +0000] "GET / HTTP/1.1" 200 5',
        *(b'{"time":"0001-01-01T00:00:00Z"}', b'{"time":"1969-12-31T23:59:59Z"}', b'{"time":"9999-12-31T23:59:59Z"}'),
    ],
)
def test_what_is_no_line_of_an_access_log_is_nothing(line):
    assert parse(line) is None


def test_a_line_in_the_combined_format_has_what_the_format_has():
    entry = parse(combined_of(uri='/a"b\\c', user="bob smith", status=403).rstrip(b"\n"))
    assert entry == CombinedEntry(
        time=BEGIN, client_ip="203.0.113.9", method="GET", uri='/a"b\\c', status=403, user="bob smith"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'192.0.2.1 - - [24/Nov/2026:08:00:00 +0100] "GET / HTTP/1.1" 200 5', ("GET", "/", None, 200)),
        (b'192.0.2.1 - a b [24/Nov/2026:02:00:00 -0500] "-" 400 0 "-" "-" extra', (None, None, "a b", 400)),
        (b'192.0.2.1 - - [24/Nov/2026:07:00:00 +0000] "\\x16\\x03" - - "-" "-"', (None, "\x16\x03", None, None)),
    ],
)
def test_lines_of_other_servers(line, expected):
    entry = parse(line)
    assert entry is not None
    assert (entry.method, entry.uri, entry.user, entry.status) == expected
    assert entry.time == BEGIN


def test_the_whole_line_behind_the_head_of_a_torn_one_is_found():
    whole = line_of(user='{"time":').rstrip(b"\n")
    assert parse_rest(line_of(uri="/a")[:90] + whole) == (whole, parse(whole))
    assert parse_rest(whole[:-1]) is None
    assert parse_rest(whole[9:]) is None


def test_the_common_name_is_as_it_was_before_it_was_escaped():
    entry = Entry(time=datetime.now(UTC), cert_subject=r"O=CN\=no,CN=Doe\, Jane+OU=x")
    assert entry.common_name == "Doe, Jane"
    assert Entry(time=entry.time, cert_subject="O=x").common_name is None
    assert Entry(time=entry.time).common_name is None


def test_mutated_lines_are_entries_or_nothing():
    random_ = random.Random(1)
    lines = [line_of(user="bob", uri="/\u00e9?a=1"), combined_of(uri="/a b", user="bob")]
    for _ in range(MUTATIONS):
        line = bytearray(random_.choice(lines).rstrip(b"\n"))
        for _ in range(random_.randint(1, 3)):
            place = random_.randrange(len(line))
            match random_.randrange(3):
                case 0:
                    line[place] = random_.randrange(256)
                case 1:
                    del line[place : place + random_.randrange(20)]
                case _:
                    line[place:place] = random_.choice([b'"', b"\\", b"{", b"\x00", b"\xff", b"[", b"e9", b"\\u12"])
            line = line or bytearray(b"x")
        assert parse(bytes(line)) is None or isinstance(parse(bytes(line)), Entry)
