"""Decides which requests are sent again if the server was just closing the connection.

A server may close an idle connection at any time, also while a request is on its way. Such a request is sent again, on
a new connection, if that is safe.

Keeps true: a request is sent again at most once, and only if it may be repeated, its connection had served requests
before, and it ended soon after the request was sent, without a byte of an answer. A connection with a login is never
replaced.
"""

from __future__ import annotations

from typing import Final

from gateway.http.headers import fold
from gateway.http.http1 import RequestHead
from gateway.proxy.limits.kept_bodies import MAX_KEPT_BODY_BYTES

# If the server had closed already, that shows within a round trip; later, the server may have processed the request.
STALE_SECONDS: Final = 5.0

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
