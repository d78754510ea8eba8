"""A TLS client whose ClientHello leaves in pieces of the test's choice: records cut anew, segments of any length.

outcome = SplitClient(port, cut_records(17), source=OUTSIDE).ask("/webmail")
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from support.client import TIMEOUT_SECONDS, Answer, Stream
from support.gateway import HOST, INSIDE

RECORD_HEADER_BYTES = 5
Split = Callable[[bytes], Iterable[bytes]]


def client_hello(context: ssl.SSLContext, *, server_name: str | None = HOST, session: Any = None) -> bytes:
    """The first record that such a client would send."""
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name, session=session)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake needs an answer")


def _record(header: bytes, payload: bytes) -> bytes:
    return header[:3] + len(payload).to_bytes(2) + payload


def cut_records(at: int) -> Split:
    """Two records, the first with `at` bytes of the message, in one segment."""

    def split(record: bytes) -> Iterable[bytes]:
        header, message = record[:RECORD_HEADER_BYTES], record[RECORD_HEADER_BYTES:]
        return [_record(header, message[:at]) + _record(header, message[at:])]

    return split


def cut_segments(at: int) -> Split:
    """One record as it is, in two segments."""
    return lambda record: [record[:at], record[at:]]


def one_byte_records(record: bytes) -> Iterable[bytes]:
    """Each byte of the message in a record of its own, each record in a segment of its own."""
    header, message = record[:RECORD_HEADER_BYTES], record[RECORD_HEADER_BYTES:]
    return [_record(header, message[at : at + 1]) for at in range(len(message))]


def one_byte_segments(record: bytes) -> Iterable[bytes]:
    """Each byte of the record in a segment of its own."""
    return [record[at : at + 1] for at in range(len(record))]


class SplitClient(Stream):
    """One connection whose first flight went through `split`."""

    def __init__(
        self, port: int, split: Split, context: ssl.SSLContext, *, source: str, server_name: str = HOST
    ) -> None:
        self._split: Split | None = split
        self._plain = socket.create_connection((INSIDE, port), timeout=TIMEOUT_SECONDS, source_address=(source, 0))
        self._plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._server_name = server_name
        super().__init__(self)

    def ask(self, target: str) -> Answer:
        """One GET, and close."""
        with self._plain:
            self._step(self._tls.do_handshake)
            request = f"GET {target} HTTP/1.1\r\nHost: {self._server_name}\r\n\r\n"
            self._step(lambda: self._tls.write(request.encode()))
            self._flush()
            return self.answer()

    def recv(self, count: int) -> bytes:
        return self._step(lambda: self._tls.read(count))

    def _step(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._plain.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def _flush(self) -> None:
        data = self._outgoing.read()
        pieces: Iterable[bytes] = [data]
        if data and self._split is not None:
            pieces, self._split = self._split(data), None
        for piece in pieces:
            self._plain.sendall(piece)
