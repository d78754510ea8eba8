"""Turns the bytes of a request's body into the bytes for the upstream. Does no I/O.

Keeps true: the framing matches the head that the upstream got, and the body ends where the client's framing says.
Length and speed are within the limits.
"""

from __future__ import annotations

from typing import Final

from gateway.config.model import Limits
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.body import (
    BodyError,
    BodyReader,
    ChunkedReader,
    FramedReader,
    LengthReader,
    encode_chunk,
    encode_last_chunk,
)
from gateway.http.fields import Fields
from gateway.http.headers import Classifier
from gateway.http.http1 import HTTP_2, RequestHead
from gateway.proxy.exchange.answer import passing_trailers
from gateway.proxy.exchange.body_pace import Pace

# Outlook Anywhere (MS-RPCH 2.1.2.1): a body of a gigabyte that trickles for hours while the answer waits elsewhere.
_TRICKLING: Final = frozenset({b"RPC_IN_DATA", b"RPC_OUT_DATA"})


class RequestBody:
    """The body of one request."""

    __slots__ = ("_classify", "_is_chunked", "_limits", "_pace", "bytes_in", "is_trickling", "reader")

    def __init__(self, head: RequestHead, limits: Limits, classify: Classifier) -> None:
        self.reader: BodyReader
        if not head.is_chunked:
            self.reader = LengthReader(head.content_length or 0)
        else:
            self.reader = FramedReader() if head.version == HTTP_2 else ChunkedReader()
        self.is_trickling = head.method in _TRICKLING
        self.bytes_in = 0  # without framing
        self._classify = classify
        self._is_chunked = head.is_chunked
        self._limits = limits
        self._pace = None if self.is_trickling else Pace(limits)

    def begin(self, now: float) -> None:
        """Begin measuring the pace here; earlier time doesn't count for the client."""
        if self._pace is not None:
            self._pace.begin(now)

    def feed(self, data: bytes, now: float, *, is_held_up: bool) -> tuple[bytes, bytes]:
        """(bytes for the upstream, bytes after the body). Raises `RequestError`.

        `is_held_up`: the upstream is slower than the client, so the client's pace isn't checked.
        """
        reader = self.reader
        try:
            payload, rest = reader.feed(data)
        except BodyError as error:
            raise RequestError(Reason.BAD_REQUEST, str(error)) from error
        self._check(len(payload), now, is_held_up=is_held_up)
        if not self._is_chunked:
            return payload, rest
        if not reader.is_complete:
            return encode_chunk(payload), rest
        return encode_chunk(payload) + self._last_chunk(), rest

    def end(self, trailers: Fields, now: float, *, is_held_up: bool) -> bytes:
        """The bytes for the upstream that end the body, when a frame ends it. Raises `RequestError`."""
        reader = self.reader
        if not isinstance(reader, FramedReader):
            raise RequestError(Reason.BAD_REQUEST, "the body ends before its length")
        self._check(0, now, is_held_up=is_held_up)
        try:
            reader.end(trailers)
        except BodyError as error:
            raise RequestError(Reason.BAD_REQUEST, str(error)) from error
        return self._last_chunk()

    def _last_chunk(self) -> bytes:
        return encode_last_chunk(passing_trailers(self.reader.trailers, self._classify))

    def _check(self, size_bytes: int, now: float, *, is_held_up: bool) -> None:
        """Count so much payload; length and pace must be within the limits."""
        limits = self._limits
        self.bytes_in += size_bytes
        if self.bytes_in > limits.body_bytes:
            raise RequestError(Reason.BODY_TOO_LARGE, f"the body is longer than {limits.body_bytes} bytes")
        if self._pace is not None and not is_held_up and self._pace.is_too_slow(size_bytes, now):
            cause = f"the body came slower than {limits.body_bytes_per_second} bytes a second"
            raise RequestError(Reason.REQUEST_TIMEOUT, cause)
