"""Reads message bodies (RFC 9112 sections 6 and 7, RFC 9113 8.1): which of the received bytes belong to this message.

Keeps true: a body ends exactly where its framing says. Bytes after it are returned unchanged, because they belong to
the next message. A chunk that does not follow RFC 9112 7.1 ends the connection. Payload is never buffered: every call
returns what it was given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

from gateway.errors import GatewayError
from gateway.http.fields import Fields, FieldsError, parse_fields

# No real chunk has 2^60 bytes; 15 hex digits keep the number below that.
MAX_SIZE_DIGITS: Final = 15
# Chunks that are read in one call: each costs 2 to 5 µs, and 16 KiB can hold 2,700 chunks of one byte.
MAX_CHUNKS_AT_ONCE: Final = 128
# A size line with its extensions, which are dropped, as RFC 9112 7.1.1 allows.
MAX_SIZE_LINE_BYTES: Final = 256
# All trailer fields together; no known program needs more.
MAX_TRAILER_BYTES: Final = 8 * 1024

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,%d})" % MAX_SIZE_DIGITS
    + rb"(?:[ \t]*;[ \t]*"
    + _TOKEN
    + rb"(?:[ \t]*=[ \t]*(?:"
    + _TOKEN
    + rb'|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*'
)


class BodyError(GatewayError):
    """The body's framing is malformed."""


class BodyReader(Protocol):
    """Takes bytes as they arrive and returns those that are payload."""

    is_complete: bool
    trailers: Fields

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, bytes after the end of the body). Raises `BodyError`.

        While the body isn't complete, the second value must be fed again, after other clients have been served.
        """


class LengthReader:
    """A body of a known length (RFC 9112 6.2)."""

    __slots__ = ("_left_bytes", "is_complete", "trailers")

    def __init__(self, length_bytes: int) -> None:
        self._left_bytes = length_bytes
        self.is_complete = length_bytes == 0
        self.trailers: Fields = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, rest)."""
        left = self._left_bytes
        size = len(data)
        if size < left:
            self._left_bytes = left - size
            return data, b""
        self._left_bytes = 0
        self.is_complete = True
        return (data, b"") if size == left else (data[:left], data[left:])


class CloseReader:
    """A body that ends with the connection (RFC 9112 6.3, rule 8); responses only."""

    __slots__ = ("is_complete", "trailers")

    def __init__(self) -> None:
        self.is_complete = False
        self.trailers: Fields = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, nothing): every byte belongs to it."""
        return data, b""


class FramedReader:
    """A request's body over HTTP/2 without a length: a frame ends it, not a byte (RFC 9113 8.1)."""

    __slots__ = ("is_complete", "trailers")

    def __init__(self) -> None:
        self.is_complete = False
        self.trailers: Fields = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, nothing): every byte belongs to it."""
        return data, b""

    def end(self, trailers: Fields) -> None:
        """The last frame has arrived. Raises `BodyError`."""
        # As over HTTP/1.1: without the last line end.
        if sum(len(name) + len(value) + 4 for name, value in trailers) - 2 > MAX_TRAILER_BYTES:
            raise _trailers_too_long()
        self.is_complete = True
        self.trailers = trailers


class ChunkedReader:
    """A chunked body (RFC 9112 7.1). After an error, every further call raises the same error."""

    __slots__ = ("_broken", "_buffer", "_in_trailers", "_left_bytes", "is_complete", "trailers")

    def __init__(self) -> None:
        self._buffer = b""  # an unfinished size line or trailer section
        self._left_bytes = 0  # of the current chunk, including its CRLF
        self._in_trailers = False
        self._broken = ""  # the cause of the error, if there was one
        self.is_complete = False
        self.trailers: Fields = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload of the first `MAX_CHUNKS_AT_ONCE` chunks in it, the rest). Raises `BodyError`."""
        if self._broken:
            raise BodyError(self._broken)
        try:
            return self._feed(data)
        except BodyError as error:
            self._broken = error.cause
            raise

    def _feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        at = 0
        while not self.is_complete and len(pieces) < MAX_CHUNKS_AT_ONCE:
            if self._in_trailers:
                at = self._trailers(data, at)
                break
            if self._left_bytes:
                taken = self._chunk(data, at, pieces)
                at += taken
                if self._left_bytes:
                    break
            line_end = data.find(b"\r\n", at, at + MAX_SIZE_LINE_BYTES + 2)
            if line_end < 0:
                self._keep_size_line(data[at:])
                at = len(data)
                break
            size = self._size(data[at:line_end])
            at = line_end + 2
            if size:
                self._left_bytes = size + 2
            else:
                self._in_trailers = True
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), data[at:]

    def _chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take the available bytes of the current chunk and its CRLF; returns how many bytes were taken."""
        left = self._left_bytes
        available = len(data) - at
        payload = min(available, left - 2) if left > 2 else 0
        if payload:
            pieces.append(data[at : at + payload] if at or payload < len(data) else data)
        taken = min(available, left)
        # After the payload must come CRLF, or the part of it that is available and was not seen before.
        if not b"\r\n"[payload - left :].startswith(data[at + payload : at + taken]):
            raise BodyError("a chunk does not end in CRLF")
        self._left_bytes = left - taken
        return taken

    def _keep_size_line(self, line: bytes) -> None:
        if len(line) > MAX_SIZE_LINE_BYTES + line.endswith(b"\r"):
            raise BodyError(f"a chunk size line is longer than {MAX_SIZE_LINE_BYTES} bytes")
        if b"\n" in line or b"\r" in line[:-1]:
            raise BodyError("a chunk size line does not end in CRLF")
        self._buffer = line

    def _size(self, line: bytes) -> int:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise BodyError("a malformed chunk size")
        return int(match[1], 16)

    def _trailers(self, data: bytes, at: int) -> int:
        """Read the trailer section at `at`; returns where the message ends, or `len(data)` if it is not complete."""
        if data.startswith(b"\r\n", at):
            self.is_complete = True
            return at + 2
        end = data.find(b"\r\n\r\n", at, at + MAX_TRAILER_BYTES + 4)
        if end < 0:
            if len(data) - at > MAX_TRAILER_BYTES + 3:  # the end without its last byte
                raise _trailers_too_long()
            self._buffer = data[at:]
            return len(data)
        try:
            self.trailers = parse_fields(data[at : end + 4])
        except FieldsError as error:
            raise BodyError(f"trailer fields: {error}") from error
        self.is_complete = True
        return end + 4


def _trailers_too_long() -> BodyError:
    return BodyError(f"trailer fields longer than {MAX_TRAILER_BYTES} bytes")


def encode_chunk(payload: bytes) -> bytes:
    """One chunk; empty without payload, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def encode_last_chunk(trailers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n"
