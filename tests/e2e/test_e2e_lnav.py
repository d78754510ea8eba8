"""lnav reads the access log with the format file in contrib/: all keys, levels, and the query in docs/logs.md."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from support.log_lines import identity_of, line_of, record_of
from support.programs import run

from gateway.facts import Reason
from gateway.logs.record import KEYS

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
FORMAT = ROOT / "contrib" / "lnav" / "gateway.json"


def refused(seconds, reason, status, **values) -> bytes:
    record = record_of(seconds, status=status, **values)
    record.refused(reason, f"because of {reason}")
    return record.to_json_line()


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Lines that lnav prints for these commands, with the format installed as its own help says."""
    folder = tmp_path_factory.mktemp("lnav")
    installed = folder / "formats" / "gateway"
    installed.mkdir(parents=True)
    shutil.copy(FORMAT, installed)
    log = folder / "access.jsonl"
    log.write_bytes(
        line_of(0, user="alice", identity=identity_of("Alice", email="alice@example.com"))
        + refused(1, Reason.CERTIFICATE_EXPIRED, 403, user="bob")
        + refused(2, Reason.CERTIFICATE_EXPIRED, 403, user="bob", uri="/x\x1b[31m")
        + refused(3, Reason.UPSTREAM_TIMEOUT, 504, user="alice")
    )

    def ask(*commands):
        given = [part for command in commands for part in ("-c", command)]
        code, output = run("lnav", ["-n", "-I", str(folder), *given, str(log)], seconds=60)
        assert code == 0, output
        assert b"error:" not in output, output
        return output.decode()

    return ask


def test_the_format_knows_every_key_of_the_log():
    known = json.loads(FORMAT.read_text())["gateway_log"]
    assert known["timestamp-field"] == KEYS[0]
    assert set(KEYS[1:]) <= set(known["value"])


def test_a_line_is_shown_with_who_what_and_why(ask):
    first, second, *_ = ask().splitlines()
    assert re.fullmatch(
        r"2026-11-24 07:00:00.000 203\.0\.113\.9 +200 +alice +alice@example.com GET +/webmail .*", first
    )
    assert "certificate_expired because of certificate_expired" in second
    assert "\x1b" not in ask()


def test_refusals_are_warnings_and_failures_are_errors(ask):
    rows = json.loads(ask(";SELECT log_level, status FROM gateway_log", ":write-json-to -"))
    assert [row["log_level"] for row in rows] == ["info", "warning", "warning", "error"]


def test_the_query_of_the_guide_counts_people_and_reasons(ask):
    [query] = re.findall(r"```sql\n(;SELECT .*)\n```", (ROOT / "docs" / "logs.md").read_text())
    assert json.loads(ask(query, ":write-json-to -")) == [
        {"user": "bob", "reason": "certificate_expired", "requests": 2},
        {"user": "alice", "reason": "upstream_timeout", "requests": 1},
    ]
