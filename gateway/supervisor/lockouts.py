"""Clients that failed to log in too often, and until when they are kept out. Pure; the master holds the one table.

Keeps true: no number of clients makes the table grow without bound, and none is kept out longer than was
configured. Keys are `proxy.lockout.key_of`'s.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from gateway.config.model import Lockout

# About 30 MiB; the client whose last failure is the oldest goes first.
MAX_TRACKED_CLIENTS: Final = 100_000
# All are told to every worker whenever one begins: half a megabyte, two where each has a certificate. The one that
# would end first goes first.
MAX_BANS: Final = 10_000


class Lockouts:
    """The failures within the window, and the bans."""

    def __init__(self, settings: Lockout, bans: Mapping[str, float] | None = None) -> None:
        """`bans`: who is kept out from the start, until when in Unix seconds."""
        self.settings = settings
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()  # the last failure's at the end
        self._bans: dict[str, float] = {} if bans is None else dict(bans)

    def failed(self, key: str, count: int, now: float) -> float | None:
        """Count failures; the time in Unix seconds until which the key is kept out, where that begins with these."""
        settings = self.settings
        times = self._failures.pop(key, None) or deque(maxlen=settings.failures)
        times.extend([now] * min(count, settings.failures))
        while times[0] < now - settings.window_seconds:
            times.popleft()
        if len(times) < settings.failures:
            self._failures[key] = times
            if len(self._failures) > MAX_TRACKED_CLIENTS:
                self._failures.popitem(last=False)
            return None
        self._bans[key] = until = now + settings.ban_seconds
        if len(self._bans) > MAX_BANS:
            del self._bans[min(self._bans, key=self._bans.__getitem__)]
        return until

    def bans(self, now: float) -> dict[str, float]:
        """Who is kept out, until when in Unix seconds."""
        self._bans = {key: until for key, until in self._bans.items() if until > now}
        return dict(self._bans)

    def lift(self, key: str) -> bool:
        """Let a key in again, with a clean slate; False where it was not kept out."""
        self._failures.pop(key, None)
        return self._bans.pop(key, None) is not None
