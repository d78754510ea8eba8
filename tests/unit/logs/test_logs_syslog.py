"""Messages of RFC 5424: valid to a strict reader, whole, and framed so that no line can begin another message."""

from __future__ import annotations

import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.syslog import counted, parse

from gateway.config.model import SyslogServer
from gateway.logs.line_queue import LineQueue
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.logs.syslog import MAX_DATAGRAM_BYTES, MAX_SEQUENCE_ID, SyslogFormat, shortened, syslog_log

NOW = 1_796_032_521.25
LINE = b'{"time":"2026-11-30T12:00:00.000Z","reason":null,"uri":"/webmail"}\n'
REFUSED = b'{"time":"2026-11-30T12:00:00.000Z","reason":"denied_by_rule","uri":"\\"reason\\":null"}\n'
COMBINED = b'10.0.0.9 - - [30/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 - "-" "-"\n'


def made(host_name="mail-gw", max_line_bytes=None, *, is_framed=False):
    return SyslogFormat(host_name=host_name, max_line_bytes=max_line_bytes, is_framed=is_framed)


def test_a_message_is_as_the_standard_has_it():
    message = parse(made().message(LINE, NOW))
    assert (message.time, message.host, message.app) == ("2026-11-30T09:55:21.250Z", "mail-gw", "gateway")
    assert (message.process, message.msgid) == (str(os.getpid()), "access")
    assert message.text == LINE[:-1]


@pytest.mark.parametrize(("line", "severity"), [(LINE, 6), (REFUSED, 5), (COMBINED, 6)])
def test_refusals_are_notices(line, severity):
    assert parse(made().message(line, NOW)).priority == 16 * 8 + severity


def test_messages_are_counted_up_to_the_standards_limit():
    format_ = made()
    assert [parse(format_.message(LINE, NOW)).data for _ in range(2)] == [
        '[meta sequenceId="1"]',
        '[meta sequenceId="2"]',
    ]
    format_._sequence_id = MAX_SEQUENCE_ID - 1
    assert [parse(format_.message(LINE, NOW)).data for _ in range(2)] == [
        f'[meta sequenceId="{MAX_SEQUENCE_ID}"]',
        '[meta sequenceId="1"]',
    ]


@pytest.mark.parametrize(("name", "shown"), [("", "-"), ("ä b\n", "b"), ("x" * 300, "x" * 255)])
def test_a_host_name_that_the_standard_does_not_allow(name, shown):
    assert parse(made(name).message(LINE, NOW)).host == shown


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=60), st.text(max_size=40)), max_size=4))
def test_whatever_clients_send_the_messages_of_a_stream_come_apart_as_they_went_in(values):
    """Line breaks, numbers and whole messages in a client's text begin nothing."""
    format_, lines = made(is_framed=True), []
    for uri, agent, user in values:
        record = AccessRecord(ConnectionFields(client_ip="203.0.113.1"), NOW, "a" * 32)
        record.uri, record.user_agent, record.user = uri, agent, user
        lines += [record.to_json_line(), record.to_combined_line()]
    messages, rest = counted(b"".join(format_.message(line, NOW) for line in lines))
    assert rest == b""
    assert [parse(message).text + b"\n" for message in messages] == lines


def test_a_line_that_is_too_long_for_a_datagram_keeps_its_keys_and_loses_the_ends_of_its_values():
    limit = MAX_DATAGRAM_BYTES - 512
    line = LINE[:-2].replace(b"/webmail", b"/" + b"\\u0001" * 20_000) + b',"status":404}\n'
    message = made(max_line_bytes=limit).message(line, NOW)
    assert len(message) <= MAX_DATAGRAM_BYTES
    values = json.loads(parse(message).text)
    assert list(values) == ["time", "reason", "uri", "status"]
    assert (values["status"], values["uri"][-1], len(values["uri"])) == (404, "…", 2048)
    assert json.loads(parse(made().message(line, NOW)).text)["uri"] == "/" + "\x01" * 20_000


def test_a_line_of_the_limit_is_left_as_it_is_and_one_byte_more_is_not():
    line = json.dumps({"uri": "x" * 5000}).encode()
    assert parse(made(max_line_bytes=len(line)).message(line, NOW)).text == line
    assert len(parse(made(max_line_bytes=len(line) - 1).message(line, NOW)).text) < len(line)


def test_every_line_can_be_made_short_enough():
    values = {f"key_{number}": "\x01" * 8192 for number in range(40)}
    line = shortened(json.dumps(values).encode(), 65_000)
    assert len(line) <= 65_000
    assert json.loads(line).keys() == values.keys()
    assert shortened("ä".encode() * 100, 50) == "ä".encode() * 23 + "…".encode()


@pytest.mark.parametrize(
    "server",
    [
        SyslogServer("udp", "127.0.0.1", 514),
        SyslogServer("tcp", "127.0.0.1", 514),
        SyslogServer("tls", "127.0.0.1", 6514),
        SyslogServer("unix", "/dev/log"),
    ],
    ids=lambda server: server.kind,
)
def test_only_streams_are_framed(monkeypatch, server):
    monkeypatch.setattr(socket, "gethostname", lambda: "mail-gw")
    messages = []
    monkeypatch.setattr(LineQueue, "put", lambda _, message: messages.append(message))
    syslog_log(server).write(LINE)
    (message,) = messages
    framed, rest = counted(message) if server.kind in {"tcp", "tls"} else ([message], b"")
    assert [parse(each).host for each in framed] == ["mail-gw"]
    assert rest == b""
