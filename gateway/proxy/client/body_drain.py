"""Reads and throws away the rest of a body whose request was already answered, so that the connection can be reused.

Keeps true: bytes after the body are returned exactly; at most `MAX_DRAINED_BYTES` are read, including framing.
"""

from __future__ import annotations

from typing import Final

from gateway.http.body import BodyError, BodyReader

MAX_DRAINED_BYTES: Final = 256 * 1024


class BodyDrain:
    """Throws one body away."""

    __slots__ = ("_body", "_drained_bytes")

    def __init__(self, body: BodyReader) -> None:
        """`body`: the reader, which has processed the bytes so far."""
        self._body = body
        self._drained_bytes = 0

    @property
    def is_complete(self) -> bool:
        """True if the body has ended."""
        return self._body.is_complete

    def feed(self, data: bytes) -> bytes:
        """Bytes after the body; while the body isn't complete, bytes that must be fed again in another turn.

        Raises `BodyError` if the body is malformed or too long.
        """
        _, rest = self._body.feed(data) if data else (b"", b"")
        self._drained_bytes += len(data) - len(rest)
        if self._drained_bytes > MAX_DRAINED_BYTES and not self.is_complete:
            raise BodyError(f"more than {MAX_DRAINED_BYTES} bytes of a body that is not needed")
        return rest
