"""A file that two processes read is counted as if one had read it."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from support.log_lines import BEGIN, combined_of, identity_of, line_of

from gateway.cli import logs_summary
from gateway.logs.files import open_logs
from gateway.logs.filters import Asked, filters_of
from gateway.logs.reader import MAX_LINE_BYTES
from gateway.logs.summary import halves, tables
from gateway.logs.summary.as_json import json_of
from gateway.logs.summary.halves import middle_of

LINES = [
    line
    for at in range(300)
    for line in (
        line_of(at, user=f"u{at % 7}", device_id=f"D{at % 40}", login="basic", status=(200, 401)[at % 9 == 0]),
        line_of(at, status=403, reason="no_rule", user=f"x{at % 11}", client_ip=f"2001:db8::{at % 5}"),
        line_of(at, uri=f"/{at}", duration_ms=float(at), identity=identity_of("A", fingerprint=f"{at // 9:064x}")),
        line_of(at * 60, user=f"w{at % 3}", observed="certificate_missing", rule="Phones"),
    )
]


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "access.jsonl"
    path.write_bytes(b"".join([*LINES, b"torn\n", combined_of(9, user="c")]))
    return path


class Alongside:
    """A second process that isn't one: a test's own process has threads. What it returns is pickled all the same."""

    begun = 0

    def __init__(self, work) -> None:
        type(self).begun += 1
        self._data = pickle.dumps(work())

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def result(self):
        return pickle.loads(self._data)  # noqa: S301 - as the product does


class Failing(Alongside):
    def result(self):
        return None


@pytest.fixture
def two(monkeypatch):
    """Two processors, files that are large enough, and no threads."""
    monkeypatch.setattr(halves, "MIN_BYTES", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(logs_summary, "Forked", Alongside)


def summary(path: Path, **asked) -> dict:
    report = logs_summary.collect(open_logs([path]), filters_of(Asked(**asked), BEGIN), shows_all=False)
    return json.loads("".join(json_of(report)))


@pytest.mark.parametrize(
    "asked", [{}, {"since": (BEGIN + timedelta(seconds=170)).isoformat()}, {"user": "u3"}, {"uri": "/webmail"}]
)
@pytest.mark.parametrize("second", [Alongside, Failing])
@pytest.mark.usefixtures("two")
def test_two_processes_count_what_one_counts(log, monkeypatch, asked, second):
    monkeypatch.setattr(logs_summary, "Forked", second)
    monkeypatch.setattr(second, "begun", 0)
    found = summary(log, **asked)
    assert second.begun == 1
    monkeypatch.setattr(halves, "MIN_BYTES", log.stat().st_size + 1)
    assert found == summary(log, **asked)
    assert second.begun == 1


@pytest.mark.usefixtures("two")
def test_a_file_is_cut_between_two_lines(log, monkeypatch):
    (whole,) = open_logs([log])
    monkeypatch.setattr(halves, "MIN_BYTES", log.stat().st_size)
    place = middle_of(whole)
    assert log.read_bytes()[place - 1 : place + 8] == b'\n{"time":'
    monkeypatch.setattr(halves, "MIN_BYTES", log.stat().st_size + 1)
    assert middle_of(whole) is None
    whole.close()


@pytest.mark.usefixtures("two")
def test_one_process_reads_where_two_would_not_help(log, tmp_path, monkeypatch):
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    endless = tmp_path / "endless"
    endless.write_bytes(b"x" * 3 * MAX_LINE_BYTES + b"\n")
    logs = open_logs([packed, endless, log])
    assert [middle_of(each) is None for each in logs if each.path != log] == [True, True]
    (plain,) = (each for each in logs if each.path == log)
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert middle_of(plain) is None
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert middle_of(plain) is None
    for each in logs:
        each.close()


@pytest.mark.usefixtures("two")
def test_merged_tables_say_what_they_dropped(log, monkeypatch):
    monkeypatch.setattr(tables, "MAX_KEYS", 3)
    monkeypatch.setattr(tables, "MAX_ADDRESSES", 3)
    monkeypatch.setattr(tables, "MAX_REFUSED", 3)
    monkeypatch.setattr(tables, "MAX_LET_IN", 3)
    monkeypatch.setattr(tables, "MAX_PEOPLE", 3)
    found = summary(log)
    assert found["requests"] == 1201
    assert not found["most_requests"]["people"]["is_exact"]
    assert not found["never_let_in"]["is_certain"]
    assert not found["first_seen"]["devices"]["is_complete"]


FORKED = """
import os, sys, time
from gateway.logs.summary.halves import Forked

with Forked(lambda: {"process": os.getpid()}) as other:
    found = other.result()
assert found["process"] != os.getpid()
with Forked(lambda: 1 / 0) as other:
    assert other.result() is None
try:
    with Forked(lambda: time.sleep(600)) as other:
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("none left")
"""


def test_a_process_of_its_own_returns_fails_and_ends_with_the_first():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"none left\n", b"")


def test_the_command_reads_a_large_file_with_two_processes(log):
    lines = log.read_bytes()
    times = halves.MIN_BYTES // len(lines) + 1
    with log.open("wb") as file:
        for _ in range(times):
            file.write(lines)
    command = [sys.executable, "-m", "gateway", "logs", str(log), "--summary", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["lines"]["read"] == times * 1202
    assert found["requests"] == times * 1201
