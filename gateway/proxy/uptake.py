"""Whether a client or a server still takes what was written to it, where nothing else tells.

Keeps true: a side that reads without a break is never taken for one that stopped, however slow it is and however much
the kernel holds for it: a socket says that it takes more only when a third of its buffer is free, which is minutes over
a slow line. A client that takes less than `limits.body_bytes_per_second` has stopped; a server has that takes nothing.
"""

from __future__ import annotations

from typing import Final, Protocol

from gateway.config.model import Limits
from gateway.tls.layer import TlsLayer

# How often it is looked what a server has taken, in the time that it may take nothing: it gets a quarter more at most.
_LOOKS: Final = 4


class Uptake:
    """What one client takes."""

    __slots__ = ("_begun_seconds", "_layer", "_untaken_bytes")

    def __init__(self, layer: TlsLayer) -> None:
        self._layer = layer
        self._begun_seconds = 0.0  # of the current span, monotonic
        self._untaken_bytes = 0  # at its beginning

    def begin(self, now: float) -> None:
        """Count anew from here; nothing may be written until the span ends."""
        self._begun_seconds = now
        self._untaken_bytes = self._layer.untaken_bytes()

    def goes_on(self, limits: Limits, now: float) -> bool:
        """True where enough was taken in this span, and there is more to take; the next span begins."""
        before, seconds = self._untaken_bytes, now - self._begun_seconds
        self.begin(now)
        taken = before - self._untaken_bytes
        return self._untaken_bytes > 0 and taken > 0 and taken >= seconds * limits.body_bytes_per_second


class Receiver(Protocol):
    """Where bytes are written to."""

    def untaken_bytes(self) -> int:
        """Those that the other side has not acknowledged yet."""


class ServerUptake:
    """Since when one server has taken nothing."""

    __slots__ = ("_looked_seconds", "_receiver", "_taken_seconds", "_untaken_bytes")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._taken_seconds = 0.0  # when it was last seen to take any, monotonic
        self._looked_seconds = 0.0
        self._untaken_bytes = 0

    def begin(self, now: float) -> None:
        """Count anew from here."""
        self._taken_seconds = self._looked_seconds = now
        self._untaken_bytes = self._receiver.untaken_bytes()

    def next_look(self, now: float, seconds: float) -> float:
        """When to look again; that is not after `now` where the server has taken nothing for so many seconds."""
        before, self._untaken_bytes = self._untaken_bytes, self._receiver.untaken_bytes()
        is_recent = now - self._looked_seconds <= seconds / 2  # else it may have taken the last of it long ago
        if self._untaken_bytes < before and (is_recent or self._untaken_bytes > 0):
            self._taken_seconds = now
        self._looked_seconds = now
        return min(now + seconds / _LOOKS, self._taken_seconds + seconds)
