"""Checks whether a client or a server still reads what was written to it.

Keeps true: a side that reads continuously never counts as stopped, however slow it is and however much data the kernel
holds for it. (A socket becomes writable only when a third of its buffer is free, which can take minutes over a slow
line.) A client counts as stopped if it reads less than `limits.body_bytes_per_second`, a server if it reads nothing.
"""

from __future__ import annotations

from typing import Final, Protocol

from gateway.config.model import Limits
from gateway.tls.layer import TlsLayer

# How often a server is checked within the time in which it may read nothing; so it gets at most a quarter more.
_LOOKS: Final = 4


class SendProgress:
    """Measures how fast one client reads."""

    __slots__ = ("_begun_seconds", "_layer", "_untaken_bytes")

    def __init__(self, layer: TlsLayer) -> None:
        self._layer = layer
        self._begun_seconds = 0.0  # of the current span, monotonic
        self._untaken_bytes = 0  # at its beginning

    def begin(self, now: float) -> None:
        """Begin a new span; nothing may be written until it ends."""
        self._begun_seconds = now
        self._untaken_bytes = self._layer.untaken_bytes()

    def goes_on(self, limits: Limits, now: float) -> bool:
        """True if the client read enough in this span and has more to read; begins the next span."""
        before, seconds = self._untaken_bytes, now - self._begun_seconds
        self.begin(now)
        taken = before - self._untaken_bytes
        return self._untaken_bytes > 0 and taken > 0 and taken >= seconds * limits.body_bytes_per_second


class Receiver(Protocol):
    """The other side, to which bytes are written."""

    def untaken_bytes(self) -> int:
        """How many bytes the other side has not acknowledged."""


class ServerProgress:
    """Measures since when one server has read nothing."""

    __slots__ = ("_looked_seconds", "_receiver", "_taken_seconds", "_untaken_bytes")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._taken_seconds = 0.0  # when it was last seen to read, monotonic
        self._looked_seconds = 0.0
        self._untaken_bytes = 0

    def begin(self, now: float) -> None:
        """Begin measuring."""
        self._taken_seconds = self._looked_seconds = now
        self._untaken_bytes = self._receiver.untaken_bytes()

    def next_look(self, now: float, seconds: float) -> float:
        """When to check again; not after `now` if the server has read nothing for so many seconds."""
        before, self._untaken_bytes = self._untaken_bytes, self._receiver.untaken_bytes()
        is_recent = now - self._looked_seconds <= seconds / 2  # else the server may have read the last of it long ago
        if self._untaken_bytes < before and (is_recent or self._untaken_bytes > 0):
            self._taken_seconds = now
        self._looked_seconds = now
        return min(now + seconds / _LOOKS, self._taken_seconds + seconds)
