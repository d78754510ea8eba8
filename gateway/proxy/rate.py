"""How often one client may begin a TLS handshake: the dearest thing a stranger can ask for.

Keeps true: memory is bounded by those who came within the last seconds, not by those who ever came.
"""

from __future__ import annotations

from typing import Final

from gateway.facts import Address, counted

# So many seconds' worth may come at once: a browser opens six connections, an office behind one address many more.
BURST_SECONDS: Final = 3.0


class HandshakeRate:
    """A leaking bucket for each address (as GCRA: one time stamp each)."""

    __slots__ = ("_full_at", "_interval_seconds")

    def __init__(self, per_second: int) -> None:
        self._interval_seconds = 1.0 / per_second
        self._full_at: dict[Address, float] = {}  # when the bucket will have leaked empty, monotonic seconds

    def allows(self, address: Address, now: float) -> bool:
        """Count one handshake; False where it is one too many."""
        address = counted(address)
        until = max(self._full_at.get(address, now), now)
        if until - now > BURST_SECONDS:
            return False
        self._full_at[address] = until + self._interval_seconds
        return True

    def sweep(self, now: float) -> None:
        """Forget whose bucket is empty."""
        self._full_at = {address: until for address, until in self._full_at.items() if until > now}
