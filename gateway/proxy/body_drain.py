"""The rest of a body whose request was answered already: read and thrown away, so that the connection can go on.

Keeps true: what stands behind the body is given back to the byte; no more than `MAX_DRAINED_BYTES` are read for it.
"""

from __future__ import annotations

from typing import Final

from gateway.http.body import BodyError, BodyReader

MAX_DRAINED_BYTES: Final = 256 * 1024


class BodyDrain:
    """Throws one body away."""

    __slots__ = ("_body", "_drained_bytes")

    def __init__(self, body: BodyReader) -> None:
        """`body` has read what came of it so far."""
        self._body = body
        self._drained_bytes = 0

    def feed(self, data: bytes) -> bytes | None:
        """What stands behind the body; None while it goes on. Raises `BodyError` where it is malformed or too long."""
        body = self._body
        payload, rest = body.feed(data) if data else (b"", b"")
        self._drained_bytes += len(payload)
        if body.is_complete:
            return rest
        if self._drained_bytes > MAX_DRAINED_BYTES:
            raise BodyError(f"more than {MAX_DRAINED_BYTES} bytes that nobody wants")
        return None
