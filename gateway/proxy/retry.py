"""One more try for a request that met a connection which its server was just closing.

A server closes an idle connection when it likes, and a request may be on its way then. Such a request is sent once
more, on a new connection, where that does no harm.

Keeps true: a request is sent again once at most, and only if it may be repeated and its connection had served before
and ended without a byte of an answer, soon after the request was sent; a connection that carries a login is never
replaced. What is kept of bodies is bounded, for each request and for the worker, and freed when the answer begins.
"""

from __future__ import annotations

from typing import Final

from gateway.http.headers import fold
from gateway.http.http1 import RequestHead

# A server that had closed says so within a round trip; what ends later was being worked on.
STALE_SECONDS: Final = 5.0
# What programs for calendars, contacts and files ask and store; a longer upload is not worth the memory.
MAX_KEPT_BODY_BYTES: Final = 64 * 1024
# Chunks are kept as they are sent: with a size line for each read.
_MAX_FRAMED_BYTES: Final = MAX_KEPT_BODY_BYTES + 8 * 1024
# For all requests of a worker together: more than a hundred of the longest.
MAX_KEPT_BYTES: Final = 8 * 1024 * 1024

# RFC 9110 9.2.1, and WebDAV's reading methods (RFC 4918, RFC 3253).
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"REPORT"})
# RFC 9110 9.2.2: with the same effect when sent twice.
_IDEMPOTENT: Final = _SAFE | {b"PUT", b"DELETE"}
# Where the first try had its effect after all, the second would fail by these (412), and the client take that for the
# outcome: RFC 9110 13.1, WebDAV's `If` (RFC 4918 10.4) and CalDAV's schedule tags (RFC 6638 8.1).
_CONDITIONS: Final = frozenset({b"if", b"if-match", b"if-none-match", b"if-unmodified-since", b"if-schedule-tag-match"})


def may_repeat(head: RequestHead) -> bool:
    """True for a request that does no harm when sent twice.

    A condition on a reading request without a body, as a browser's cache has it, changes nothing about that.
    """
    if head.method not in _IDEMPOTENT:
        return False
    if head.method in _SAFE and not head.has_body:
        return True
    return _CONDITIONS.isdisjoint(map(fold, head.passing[::4]))


def may_keep(head: RequestHead) -> bool:
    """True for a request whose body is kept, for as long as it is short enough."""
    return may_repeat(head) and (head.content_length or 0) <= MAX_KEPT_BODY_BYTES


class KeptBodies:
    """How much one worker keeps."""

    __slots__ = ("kept_bytes",)

    def __init__(self) -> None:
        self.kept_bytes = 0


class KeptBody:
    """What was sent of one request's body, as it is framed."""

    __slots__ = ("_all", "_data")

    def __init__(self, kept: KeptBodies) -> None:
        """`release` must follow."""
        self._all = kept
        self._data = bytearray()

    def add(self, data: bytes, payload_bytes: int) -> bool:
        """Keep more of a body that is so long by now. False: it is too much, and nothing is kept any longer."""
        size = len(data)
        is_too_long = payload_bytes > MAX_KEPT_BODY_BYTES or len(self._data) + size > _MAX_FRAMED_BYTES
        if is_too_long or self._all.kept_bytes + size > MAX_KEPT_BYTES:
            self.release()
            return False
        self._data += data
        self._all.kept_bytes += size
        return True

    def release(self) -> bytes:
        """What was kept; it is the caller's now."""
        data = bytes(self._data)
        self._all.kept_bytes -= len(data)
        self._data.clear()
        return data
