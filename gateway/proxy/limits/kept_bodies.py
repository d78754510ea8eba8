"""Keeps the bodies of requests that may be sent again.

Keeps true: kept bodies are limited, for each request and for the worker, and freed when the answer begins.
"""

from __future__ import annotations

from typing import Final

# Enough for programs for calendars, contacts and files; a longer upload is not worth the memory.
MAX_KEPT_BODY_BYTES: Final = 64 * 1024
# Chunks are kept with their framing: a size line for each read.
_MAX_FRAMED_BYTES: Final = MAX_KEPT_BODY_BYTES + 8 * 1024
# For all requests of a worker together: more than a hundred of the longest.
MAX_KEPT_BYTES: Final = 8 * 1024 * 1024


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
