"""The access log in systemd's journal, by its native protocol: each line is an entry with fields to search by.

Keeps true: a field's value can't begin another field: one with a line break in it is sent with its length. An entry
that is too long for a datagram is sent as a sealed file in memory (memfd), as the protocol asks.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec

from gateway.logs.line_queue import LineQueue
from gateway.logs.links import connect_unix
from gateway.logs.sending import SendingLog

SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "gateway-access"  # `journalctl -t gateway-access`; the error log has the service's own
NOTICE, INFORMATIONAL = b"5", b"6"
_TOO_LONG: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_REMEDY: Final = "start systemd-journald, or change access_log.path"


class _Line(msgspec.Struct, gc=False):
    """The keys of a line that become fields, in the order of the entry."""

    request_id: str | None = None
    client_ip: str | None = None
    site: str | None = None
    status: int | None = None
    reason: str | None = None
    observed: str | None = None
    rule: str | None = None
    cert_email: str | None = None
    cert_fingerprint: str | None = None
    user: str | None = None
    device_id: str | None = None


FIELDS: Final = tuple(f"GATEWAY_{key.upper()}" for key in _Line.__struct_fields__)
_decode: Final = msgspec.json.Decoder(_Line).decode


def entry_of(line: bytes, _now: float = 0.0) -> bytes:
    """The journal's entry for a line. A line of the combined format has no fields of its own."""
    text = line.rstrip(b"\n")
    fields: list[tuple[str, bytes]] = [("MESSAGE", text)]
    has_reason = False
    if (values := _values_of(text)) is not None:
        has_reason = values.reason is not None
        fields += [
            (name, str(value).encode())
            for name, value in zip(FIELDS, msgspec.structs.astuple(values), strict=True)
            if value is not None
        ]
    fields += [("PRIORITY", NOTICE if has_reason else INFORMATIONAL), ("SYSLOG_IDENTIFIER", IDENTIFIER.encode())]
    return serialised(fields)


def _values_of(text: bytes) -> _Line | None:
    try:
        return _decode(text)
    except msgspec.DecodeError:  # the combined format
        return None


def serialised(fields: Iterable[tuple[str, bytes]]) -> bytes:
    """Fields as the journal's native protocol has them (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    parts: list[bytes] = []
    for name, value in fields:
        if b"\n" in value:
            parts += (name.encode(), b"\n", len(value).to_bytes(8, "little"), value, b"\n")
        else:
            parts += (name.encode(), b"=", value, b"\n")
    return b"".join(parts)


def journal_log(path: str = SOCKET) -> SendingLog:
    """The log that sends to the journal whose socket this is."""
    return SendingLog(LineQueue("journald", _REMEDY), partial(connect_unix, path, send_entry), entry_of)


def send_entry(sock: socket.socket, entry: bytes) -> None:
    """Send an entry, in a file if it is too long for a datagram. Raises `OSError`."""
    try:
        sock.send(entry)
    except OSError as error:
        if error.errno not in _TOO_LONG:
            raise
        _send_in_file(sock, entry)


def _send_in_file(sock: socket.socket, entry: bytes) -> None:
    descriptor = os.memfd_create("gateway-access-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            file.write(entry)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        sock.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    finally:
        os.close(descriptor)
