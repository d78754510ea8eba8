"""Whether a client still takes what was written to it, where nothing else tells.

Keeps true: a client that reads without a break is never taken for one that stopped, however slow it is and however
much the kernel holds for it: a socket says that it takes more only when a third of its buffer is free, which is minutes
over a slow line. Who takes less than `limits.body_bytes_per_second` has stopped.
"""

from __future__ import annotations

from gateway.config.model import Limits
from gateway.tls.layer import TlsLayer


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
