"""The journal's native protocol, spoken to a real unix socket that reads it as systemd-journald does."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway.logs.journal import FIELDS, entry_of, journal_log, serialised
from gateway.logs.record import AccessRecord, ConnectionFields

NOW = 1_796_032_521.25
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def fields_of(entry: bytes) -> dict[str, bytes]:
    """An entry's fields, read as the protocol defines them."""
    found: dict[str, bytes] = {}
    while entry:
        name, separator, value = entry.partition(b"\n")[0].partition(b"=")
        if separator:
            entry = entry.partition(b"\n")[2]
        else:
            start = len(name) + 1 + 8
            size = int.from_bytes(entry[len(name) + 1 : start], "little")
            value = entry[start : start + size]
            assert entry[start + size : start + size + 1] == b"\n"
            entry = entry[start + size + 1 :]
        assert name.decode() not in found
        found[name.decode()] = value
    return found


def line_of(**values) -> bytes:
    record = AccessRecord(ConnectionFields(client_ip="203.0.113.1", site="mail.example.com"), NOW, "a" * 32)
    for name, value in values.items():
        setattr(record, name, value)
    return record.to_json_line()


def test_an_entry_has_the_line_and_fields_to_search_by():
    line = line_of(status=403, reason="denied_by_rule", detail="x", user="alice", rule="Everything else")
    assert fields_of(entry_of(line)) == {
        "MESSAGE": line[:-1],
        "GATEWAY_REQUEST_ID": b"a" * 32,
        "GATEWAY_CLIENT_IP": b"203.0.113.1",
        "GATEWAY_SITE": b"mail.example.com",
        "GATEWAY_STATUS": b"403",
        "GATEWAY_REASON": b"denied_by_rule",
        "GATEWAY_RULE": b"Everything else",
        "GATEWAY_USER": b"alice",
        "PRIORITY": b"5",
        "SYSLOG_IDENTIFIER": b"gateway-access",
    }
    assert fields_of(entry_of(line_of(status=200)))["PRIORITY"] == b"6"


def test_a_combined_line_is_only_a_message():
    entry = fields_of(entry_of(b'10.0.0.9 - - [x] "GET / HTTP/1.1" 200 - "-" "-"\n'))
    assert entry.keys() == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}


def test_a_value_with_line_breaks_begins_no_field():
    """JSON turns a line break in a name into two characters; a decoded value has it again."""
    entry = fields_of(entry_of(line_of(user="alice\nPRIORITY=0\n_UID=0")))
    assert entry["GATEWAY_USER"] == b"alice\nPRIORITY=0\n_UID=0"
    assert entry["PRIORITY"] == b"6"
    assert fields_of(serialised([("A", b"1\n2"), ("B", b"")])) == {"A": b"1\n2", "B": b""}


def test_every_field_is_a_name_that_the_journal_takes():
    for name in FIELDS:
        assert len(name) <= 64
        assert name.replace("_", "").isalpha()
        assert name.isupper()


@pytest.fixture
def journald(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(PATIENCE_SECONDS)
        yield sock


def received(sock: socket.socket) -> tuple[bytes, bool]:
    """(an entry, whether it came in a sealed file)."""
    data, descriptors, _, _ = socket.recv_fds(sock, 1 << 22, 1)
    if not descriptors:
        return data, False
    (descriptor,) = descriptors
    assert data == b""
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read(), True


def test_lines_arrive_and_long_ones_come_in_a_file(journald, tmp_path):
    lines = [line_of(uri="/a"), line_of(detail="x" * 3_000_000), line_of(uri="/c")]

    async def send() -> list[tuple[bytes, bool]]:
        log = journal_log(str(tmp_path / "socket"))
        log.start(asyncio.get_running_loop())
        for line in lines:
            log.write(line)
        found = [await asyncio.to_thread(received, journald) for _ in lines]
        await log.finish()
        log.close()
        assert log.dropped_lines == 0
        return found

    found = asyncio.run(send())
    assert [fields_of(entry)["MESSAGE"] + b"\n" for entry, _ in found] == lines
    assert [is_file for _, is_file in found] == [False, True, False]


def test_a_journald_that_was_restarted_gets_the_lines_that_waited(journald, tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.logs.sending.FIRST_RETRY_SECONDS", 0.01)
    path = tmp_path / "socket"

    async def send() -> bytes:
        log = journal_log(str(path))
        log.start(asyncio.get_running_loop())
        log.write(line_of(uri="/a"))
        await asyncio.to_thread(received, journald)
        journald.close()
        log.write(line_of(uri="/b"))
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
            again.bind(str(path))
            again.settimeout(PATIENCE_SECONDS)
            entry, _ = await asyncio.to_thread(received, again)
            await log.finish()
        return entry

    assert b'"uri":"/b"' in asyncio.run(send())


def test_no_journal_at_the_end_is_a_loss_that_is_reported(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("gateway.logs.sending.CLOSE_SECONDS", 0.05)

    async def send() -> int:
        log = journal_log(str(tmp_path / "nothing"))
        log.start(asyncio.get_running_loop())
        log.write(line_of())
        await log.finish()
        log.close()
        return log.dropped_lines

    assert asyncio.run(send()) == 1
    assert "access log journald: No such file or directory" in caplog.text
    assert "1 lines lost since the last report; start systemd-journald" in caplog.text
