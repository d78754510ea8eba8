"""The access log in a syslog server: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587), TLS (RFC 5425) or a unix socket.

Keeps true: each line is one message, whole. On streams, every message carries its length in octets, so that no byte in
it can begin another one. A line too long for a datagram has its long values cut, and is still a line of the log: it
can't be left out by a client that sends long headers.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from functools import partial
from typing import Any, Final

import orjson

from gateway.config.model import SyslogServer
from gateway.logs.line_queue import LineQueue
from gateway.logs.links import connect_datagrams, connect_stream, connect_unix
from gateway.logs.record import rfc3339
from gateway.logs.sending import SendingLog
from gateway.logs.text import CUT_MARK

APP_NAME: Final = "gateway"
MSGID: Final = "access"
FACILITY: Final = 16  # local0 (RFC 5424, 6.2.1), which log servers keep apart from the system's messages
NOTICE, INFORMATIONAL = 5, 6
MAX_DATAGRAM_BYTES: Final = 65_507  # of UDP over IPv4: 65,535 without the headers
MAX_SEQUENCE_ID: Final = 2_147_483_647  # RFC 5424, 7.3.1
_HEADER_BYTES: Final = 512  # of a message, at most: the host's name has 255
_SHORT_VALUES: Final = (2048, 512, 128)  # characters; all values of a line with 128 each make less than 32 KiB
_NO_REASON: Final = b'"reason":null'  # a client's text can't hold it: quotes in it are escaped
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")
_REMEDY: Final = "start the server, let this machine reach it, or change access_log.path"


class SyslogFormat:
    """Makes messages. Counts them from 1 (`sequenceId`), so that the server can tell how many it didn't get."""

    def __init__(self, *, host_name: str, max_line_bytes: int | None, is_framed: bool) -> None:
        self._host_name = _UNPRINTABLE.sub("", host_name)[:255] or "-"
        self._max_line_bytes = max_line_bytes
        self._is_framed = is_framed
        self._process_id = 0
        self._sequence_id = 0

    def message(self, line: bytes, now: float) -> bytes:
        """The message for a line; framed, if it goes over a stream. Without a byte order mark: readers expect JSON."""
        if not self._process_id:  # a worker's, after the fork
            self._process_id = os.getpid()
        self._sequence_id = self._sequence_id % MAX_SEQUENCE_ID + 1
        priority = FACILITY * 8 + (INFORMATIONAL if _NO_REASON in line or not line.startswith(b"{") else NOTICE)
        head = (
            f"<{priority}>1 {rfc3339(now)} {self._host_name} {APP_NAME} {self._process_id} {MSGID} "
            f'[meta sequenceId="{self._sequence_id}"] '
        )
        text = line.rstrip(b"\n")
        if self._max_line_bytes is not None and len(text) > self._max_line_bytes:
            text = shortened(text, self._max_line_bytes)
        message = head.encode() + text
        return b"%d %b" % (len(message), message) if self._is_framed else message


def shortened(line: bytes, max_bytes: int) -> bytes:
    """A line of at most so many bytes: long values of a JSON line are cut, all its keys stay."""
    if not line.startswith(b"{"):
        return line[: max_bytes - len(CUT_MARK.encode())].decode("utf-8", "ignore").encode() + CUT_MARK.encode()
    values = orjson.loads(line)
    for limit in _SHORT_VALUES:
        line = orjson.dumps({key: _cut(value, limit) for key, value in values.items()})
        if len(line) <= max_bytes:
            break
    return line


def _cut(value: Any, limit: int) -> Any:
    return value[: limit - 1] + CUT_MARK if isinstance(value, str) and len(value) > limit else value


def syslog_log(server: SyslogServer, context: ssl.SSLContext | None = None) -> SendingLog:
    """The log that sends to this server; `context` is for TLS."""
    limit = MAX_DATAGRAM_BYTES - _HEADER_BYTES if server.kind in {"udp", "unix"} else None
    is_framed = server.kind in {"tcp", "tls"}
    made = SyslogFormat(host_name=socket.gethostname(), max_line_bytes=limit, is_framed=is_framed)
    queue = LineQueue(server.url, _REMEDY)
    match server.kind:
        case "udp":
            return SendingLog(queue, partial(connect_datagrams, server.host, server.port), made.message)
        case "unix":
            return SendingLog(queue, partial(connect_unix, server.host), made.message)
        case "tcp" | "tls":
            return SendingLog(queue, partial(connect_stream, server.host, server.port, context), made.message)
