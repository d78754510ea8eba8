"""Clients with too many failed logins, and until when they are locked out. Pure; the only table is in the master.

Keeps true: the table's size is limited, however many clients fail; no client is locked out longer than configured.
Keys come from `proxy.lockout.key_of`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from gateway.config.model import Lockout

# About 30 MiB; the client whose last failure is the oldest is dropped first.
MAX_TRACKED_CLIENTS: Final = 100_000
# All lockouts are sent to every worker when one begins: half a megabyte, two if each has a certificate. The one that
# would end first is dropped first.
MAX_BANS: Final = 10_000


class LockoutTable:
    """The failures within the window, and the lockouts."""

    def __init__(self, settings: Lockout, bans: Mapping[str, float] | None = None) -> None:
        """`bans`: key → when its lockout ends, Unix seconds; in force from the start."""
        self.settings = settings
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()  # the key with the latest failure is last
        self._bans: dict[str, float] = {} if bans is None else dict(bans)

    def failed(self, key: str, count: int, now: float) -> float | None:
        """Count failures; if a lockout begins, returns when it ends, in Unix seconds."""
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
        """Key → when its lockout ends, Unix seconds."""
        self._bans = {key: until for key, until in self._bans.items() if until > now}
        return dict(self._bans)

    def lift(self, key: str) -> bool:
        """End a lockout and forget the key's failures; False if the key was not locked out."""
        self._failures.pop(key, None)
        return self._bans.pop(key, None) is not None
