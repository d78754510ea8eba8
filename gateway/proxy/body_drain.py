"""The rest of a body whose request was answered already: read and thrown away, so that the connection can go on.

Keeps true: what stands behind the body is given back to the byte; no more than `MAX_DRAINED_BYTES` are read for it,
framing included.
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

    @property
    def is_complete(self) -> bool:
        """True when the body has ended."""
        return self._body.is_complete

    def feed(self, data: bytes) -> bytes:
        """What stands behind the body, or, while that isn't complete, what must be fed again in another turn.

        Raises `BodyError` where it is malformed or too long.
        """
        _, rest = self._body.feed(data) if data else (b"", b"")
        self._drained_bytes += len(data) - len(rest)
        if self._drained_bytes > MAX_DRAINED_BYTES and not self.is_complete:
            raise BodyError(f"more than {MAX_DRAINED_BYTES} bytes of a body that is not needed")
        return rest
