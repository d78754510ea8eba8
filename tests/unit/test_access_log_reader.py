"""How end-to-end tests read a gateway's access log: each line once, and all of them where the file was replaced."""

from __future__ import annotations

import json

import pytest
from support.gateway import AccessLog

from gateway.logs.record import KEYS


@pytest.fixture
def log(tmp_path):
    return AccessLog(tmp_path / "access.jsonl")


def line(request_id: str) -> bytes:
    record = dict.fromkeys(KEYS) | {"request_id": request_id}
    return json.dumps(record).encode() + b"\n"


def ids(log):
    return [record["request_id"] for record in log.records()]


def test_before_there_is_a_file_there_are_no_records(log):
    assert log.records() == []
    assert log.is_whole


def test_lines_are_read_as_they_come_and_half_a_line_is_not(log):
    log.path.write_bytes(line("a") + line("b")[:20])
    assert ids(log) == ["a"]
    assert not log.is_whole
    log.path.write_bytes(line("a") + line("b"))
    assert ids(log) == ["a", "b"]
    assert log.is_whole


def test_a_line_that_was_read_is_not_parsed_again(log, monkeypatch):
    log.path.write_bytes(line("a") + line("b"))
    assert ids(log) == ["a", "b"]
    parsed = []
    monkeypatch.setattr(
        "support.gateway.json.loads", lambda text, _loads=json.loads: parsed.append(text) or _loads(text)
    )
    log.path.write_bytes(line("a") + line("b") + line("c"))
    assert ids(log) == ["a", "b", "c"]
    assert parsed == [line("c")]


def test_a_record_that_a_test_takes_apart_is_whole_the_next_time(log):
    log.path.write_bytes(line("a"))
    log.records()[0].clear()
    assert ids(log) == ["a"]


def test_another_file_at_the_path_is_read_from_its_beginning(log):
    log.path.write_bytes(line("a") + line("b"))
    assert ids(log) == ["a", "b"]
    log.path.rename(log.path.with_suffix(".1"))
    assert ids(log) == []
    log.path.write_bytes(line("c") + line("d") + line("e"))
    assert ids(log) == ["c", "d", "e"]
    log.path.write_bytes(line("f"))
    assert ids(log) == ["f"]


def test_a_record_without_a_key_fails(log):
    log.path.write_bytes(b'{"request_id": "a"}\n')
    with pytest.raises(AssertionError):
        log.records()
