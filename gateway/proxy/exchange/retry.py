"""Decides which requests are sent again if the server was just closing the connection.

A server may close an idle connection at any time, also while a request is on its way. Such a request is sent again, on
a new connection, if that is safe.

Keeps true: a request is sent again at most once, and only if it may be repeated, its connection had served requests
before, and it ended soon after the request was sent, without a byte of an answer. A connection with a login is never
replaced. Kept bodies are limited, for each request and for the worker, and freed when the answer begins.
"""

from __future__ import annotations

from typing import Final

from gateway.http.headers import fold
from gateway.http.http1 import RequestHead

# If the server had closed already, that shows within a round trip; later, the server may have processed the request.
STALE_SECONDS: Final = 5.0
# Enough for programs for calendars, contacts and files; a longer upload is not worth the memory.
MAX_KEPT_BODY_BYTES: Final = 64 * 1024
# Chunks are kept with their framing: a size line for each read.
_MAX_FRAMED_BYTES: Final = MAX_KEPT_BODY_BYTES + 8 * 1024
# For all requests of a worker together: more than a hundred of the longest.
MAX_KEPT_BYTES: Final = 8 * 1024 * 1024

# RFC 9110 9.2.1, and WebDAV's reading methods (RFC 4918, RFC 3253).
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"REPORT"})
# RFC 9110 9.2.2: with the same effect when sent twice.
_IDEMPOTENT: Final = _SAFE | {b"PUT", b"DELETE"}
# If the first try did have an effect, a second one would fail because of these (412), and the client would see only
# that: RFC 9110 13.1, WebDAV's `If` (RFC 4918 10.4) and CalDAV's schedule tags (RFC 6638 8.1).
_CONDITIONS: Final = frozenset({b"if", b"if-match", b"if-none-match", b"if-unmodified-since", b"if-schedule-tag-match"})


def may_repeat(head: RequestHead) -> bool:
    """True if the request can safely be sent twice.

    A condition on a reading request without a body, as browsers' caches send, makes no difference.
    """
    if head.method not in _IDEMPOTENT:
        return False
    if head.method in _SAFE and not head.has_body:
        return True
    return _CONDITIONS.isdisjoint(map(fold, head.passing[::4]))


def may_keep(head: RequestHead) -> bool:
    """True if the request's body is kept, as long as it is short enough."""
    return may_repeat(head) and (head.content_length or 0) <= MAX_KEPT_BODY_BYTES


class KeptBodies:
    """How many bytes of bodies one worker keeps."""

    __slots__ = ("kept_bytes",)

    def __init__(self) -> None:
        self.kept_bytes = 0


class KeptBody:
    """The part of one request's body that was sent, with its framing."""

    __slots__ = ("_all", "_data")

    def __init__(self, kept: KeptBodies) -> None:
        """Call `release` in the end."""
        self._all = kept
        self._data = bytearray()

    def add(self, data: bytes, payload_bytes: int) -> bool:
        """Keep more of a body with `payload_bytes` so far. False: too much, so everything was released."""
        size = len(data)
        is_too_long = payload_bytes > MAX_KEPT_BODY_BYTES or len(self._data) + size > _MAX_FRAMED_BYTES
        if is_too_long or self._all.kept_bytes + size > MAX_KEPT_BYTES:
            self.release()
            return False
        self._data += data
        self._all.kept_bytes += size
        return True

    def release(self) -> bytes:
        """Return the kept bytes and forget them."""
        data = bytes(self._data)
        self._all.kept_bytes -= len(data)
        self._data.clear()
        return data
