"""How often one client may begin a TLS handshake, the dearest thing a stranger can ask for, and make a request.

Keeps true: memory is bounded by the clients that came within the last seconds or are connected, not by all that ever
came. A handshake too many is refused, a request too many has to wait. Each worker counts for itself.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakValueDictionary

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


class Requests:
    """How many requests one client has made lately. Connections of one client share it."""

    __slots__ = ("__weakref__", "_counted", "_full_at", "_interval_seconds")

    def __init__(self, interval_seconds: float, counted_lately: set[Requests]) -> None:
        self._interval_seconds = interval_seconds
        self._counted = counted_lately
        self._full_at = 0.0  # when the bucket will have leaked empty, monotonic seconds

    def delay_seconds(self, now: float) -> float:
        """Count one request; how long it has to wait, zero or less for not at all."""
        full_at = self._full_at
        if full_at <= now:
            full_at = now
            self._counted.add(self)
        self._full_at = full_at + self._interval_seconds
        return full_at - now - BURST_SECONDS

    def withdraw(self) -> None:
        """Count one request less: it had to wait, and its client left before it was made."""
        self._full_at -= self._interval_seconds

    def is_empty(self, now: float) -> bool:
        """True where it says no more than a new one."""
        return self._full_at <= now


class RequestRate:
    """A leaking bucket for each client that has connections or made a request within the last seconds.

    Connections hold theirs, so that no request has to look one up. A client that closes its connections and opens new
    ones finds its bucket as it was.
    """

    __slots__ = ("_by_client", "_counted", "_interval_seconds")

    def __init__(self, per_second: int) -> None:
        self._interval_seconds = 1.0 / per_second
        self._by_client: WeakValueDictionary[Address, Requests] = WeakValueDictionary()
        self._counted: set[Requests] = set()  # those that are not empty yet, which must be kept

    def of(self, address: Address) -> Requests:
        """The client's bucket."""
        client = counted(address)
        found = self._by_client.get(client)
        if found is None:
            self._by_client[client] = found = Requests(self._interval_seconds, self._counted)
        return found

    def sweep(self, now: float) -> None:
        """Forget the empty ones, but for those of open connections."""
        self._counted -= {each for each in self._counted if each.is_empty(now)}
