"""Limits how often one client may begin a TLS handshake (the most expensive operation for strangers) and send requests.

Keeps true: memory is needed only for clients that are connected or came within the last seconds. A handshake above the
limit is refused; a request above the limit waits. Each worker counts separately.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakValueDictionary

from gateway.facts import Address, counted

# So many seconds' worth may arrive at once: a browser opens six connections, an office behind one address many more.
BURST_SECONDS: Final = 3.0


class HandshakeRate:
    """A leaky bucket for each address (as GCRA: one time stamp each)."""

    __slots__ = ("_full_at", "_interval_seconds")

    def __init__(self, per_second: int) -> None:
        self._interval_seconds = 1.0 / per_second
        self._full_at: dict[Address, float] = {}  # when the bucket will be empty, monotonic seconds

    def allows(self, address: Address, now: float) -> bool:
        """Count one handshake; False if it is above the limit."""
        address = counted(address)
        until = max(self._full_at.get(address, now), now)
        if until - now > BURST_SECONDS:
            return False
        self._full_at[address] = until + self._interval_seconds
        return True

    def sweep(self, now: float) -> None:
        """Forget clients whose bucket is empty."""
        self._full_at = {address: until for address, until in self._full_at.items() if until > now}


class Requests:
    """The leaky bucket of one client's requests, shared by its connections."""

    __slots__ = ("__weakref__", "_counted", "_full_at", "_interval_seconds")

    def __init__(self, interval_seconds: float, counted_lately: set[Requests]) -> None:
        self._interval_seconds = interval_seconds
        self._counted = counted_lately
        self._full_at = 0.0  # when the bucket will be empty, monotonic seconds

    def delay_seconds(self, now: float) -> float:
        """Count one request; returns how long it must wait; not at all if 0 or less."""
        full_at = self._full_at
        if full_at <= now:
            full_at = now
            self._counted.add(self)
        self._full_at = full_at + self._interval_seconds
        return full_at - now - BURST_SECONDS

    def withdraw(self) -> None:
        """Count one request less: its client left while it waited."""
        self._full_at -= self._interval_seconds

    def is_empty(self, now: float) -> bool:
        """True if it equals a new bucket."""
        return self._full_at <= now


class RequestRate:
    """A leaky bucket for each client that is connected or made a request within the last seconds.

    Connections keep a reference to it, so requests need no look-up. A client that reconnects gets the same bucket.
    """

    __slots__ = ("_by_client", "_counted", "_interval_seconds")

    def __init__(self, per_second: int) -> None:
        self._interval_seconds = 1.0 / per_second
        self._by_client: WeakValueDictionary[Address, Requests] = WeakValueDictionary()
        self._counted: set[Requests] = set()  # those that are not empty yet, kept by this reference

    def of(self, address: Address) -> Requests:
        """The client's bucket."""
        client = counted(address)
        found = self._by_client.get(client)
        if found is None:
            self._by_client[client] = found = Requests(self._interval_seconds, self._counted)
        return found

    def sweep(self, now: float) -> None:
        """Forget empty buckets, except those of open connections."""
        self._counted -= {each for each in self._counted if each.is_empty(now)}
