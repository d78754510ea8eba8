"""Whatever a client sends, a log line is one line, parses, and says what the plain way of writing it says."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.logs.record import KEYS, AccessRecord, ConnectionFields
from gateway.logs.text import MAX_URI_CHARACTERS, MAX_VALUE_CHARACTERS, fit

TEXT = st.none() | st.text(st.characters(exclude_categories=[]), max_size=60)
CLIENT = TEXT | st.binary(max_size=60) | st.text('?&;=#%@:/passwordtoken\n"\\', max_size=60)
NUMBER = st.none() | st.integers(0, 2**63 - 1)
MILLISECONDS = st.none() | st.floats(0, 1e12)
COMBINED = re.compile(
    rb'\S+ - (?:[^\s\\"]|\\.)+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
    rb'"(?:[^"\\]|\\.)*" (?:\d+|-) (?:\d+|-) "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"\n'
)


@st.composite
def records(draw: st.DrawFn) -> AccessRecord:
    connection = ConnectionFields(client_ip="192.0.2.1", client_port=draw(NUMBER), site=draw(TEXT))
    record = AccessRecord(connection, draw(st.floats(0, 4e9)), "r1")
    for name in (
        "method",
        "protocol",
        "reason",
        "detail",
        "observed",
        "rule",
        "decision",
        "upstream",
        "login",
        "user",
        "device_id",
    ):
        setattr(record, name, draw(TEXT))
    for name in ("host", "uri", "user_agent", "referer"):
        setattr(record, name, draw(CLIENT))
    for name in ("status", "bytes_in", "bytes_out", "upstream_status"):
        setattr(record, name, draw(NUMBER))
    record.duration_ms, record.upstream_ms = draw(MILLISECONDS), draw(MILLISECONDS)
    return record


@given(records())
def test_a_json_line_is_one_valid_line_with_every_key(record: AccessRecord) -> None:
    line = record.to_json_line()
    assert line.count(b"\n") == 1
    values = json.loads(line)
    assert tuple(values) == KEYS
    plain = record.as_dict()
    for name in ("host", "uri", "user_agent", "referer", "user", "device_id", "status", "site", "bytes_in"):
        assert values[name] == plain[name]


@given(records())
def test_a_combined_line_is_one_line_of_the_documented_form(record: AccessRecord) -> None:
    assert COMBINED.fullmatch(record.to_combined_line()) is not None


@given(CLIENT.filter(lambda value: value is not None), st.sampled_from([8, MAX_VALUE_CHARACTERS, MAX_URI_CHARACTERS]))
def test_what_is_fit_is_bounded_and_stays_as_it_is(value: str | bytes, limit: int) -> None:
    text = fit(value, limit)
    assert len(text) <= limit
    assert fit(text, limit) == text
    text.encode()
