"""Writes answers as HTTP/1.1 (RFC 9112): the only code that does.

Keeps true: the client can tell where a body ends. If its length is not told, it is chunked, or for HTTP/1.0 it ends
with the connection. `closes` says that the client was told that the connection ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.http.body import encode_last_chunk
from gateway.http.events import Data, End, Event, Head, Interim, Upgrade
from gateway.http.http1 import HTTP_1_1

PHRASES: Final = {
    200: b"OK",
    302: b"Found",
    304: b"Not Modified",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}

_STATUS_LINE: Final = b"HTTP/1.1 %d %b\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"  # without this, HTTP/1.0 clients read until the connection ends
_LINE_END: Final = b"\r\n"


class Http1Writer:
    """Writes the answer to one request."""

    __slots__ = ("_is_chunked", "_version", "closes")

    def __init__(self, version: int = HTTP_1_1) -> None:
        """`version`: the request's, HTTP/1.0 or 1.1."""
        self._version = version
        self._is_chunked = False
        self.closes = False  # the client was told that its connection ends after this answer

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes of these events. A payload that stands for itself is not copied."""
        parts: list[bytes] = []
        for event in events:
            if isinstance(event, Data):
                payload = event.payload
                if not self._is_chunked:
                    parts.append(payload)
                elif payload:  # an empty chunk would end the body
                    parts += (b"%x\r\n" % len(payload), payload, _LINE_END)
            elif isinstance(event, Head):
                self._head(event, parts)
            elif isinstance(event, End):
                if self._is_chunked:
                    parts.append(encode_last_chunk(event.trailers))
            elif isinstance(event, Upgrade):
                self._upgrade(event, parts)
            elif self._version:  # RFC 9110 15.2: HTTP/1.0 has no interim answers
                _interim(event, parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _head(self, head: Head, parts: list[bytes]) -> None:
        status, reason, fields, is_sized, is_kept = head
        parts.append(_STATUS_LINE % (status, PHRASES[status] if reason is None else reason))
        parts += fields
        if not is_sized:
            if self._version:
                self._is_chunked = True
                parts.append(_CHUNKED)
            else:
                is_kept = False
        if not is_kept:
            self.closes = True
            parts.append(_CLOSE)
        elif not self._version:
            parts.append(_KEEP_ALIVE)
        parts.append(_LINE_END)

    def _upgrade(self, head: Upgrade, parts: list[bytes]) -> None:
        self.closes = True
        parts.append(_STATUS_LINE % (101, head.reason))
        parts += head.fields
        parts += (b"Connection: Upgrade\r\nUpgrade: ", head.protocol, b"\r\n\r\n")


def _interim(head: Interim, parts: list[bytes]) -> None:
    parts.append(_STATUS_LINE % (head.status, head.reason))
    parts += head.fields
    parts.append(_LINE_END)
