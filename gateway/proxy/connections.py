"""The open connections of one worker: how many there are, their deadlines, and judging them again.

Keeps true: every connection is counted from its first byte to its end. An error in one of them affects no other.
"""

from __future__ import annotations

import asyncio
import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol, TypeVar

from gateway.config.model import Limits
from gateway.facts import Address, counted
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.proxy.snapshot import Snapshot

# After a reload, or when a revocation list expires, connections are judged again in groups of this size.
JUDGED_AT_ONCE: Final = 100
# A connection above the limit gets a page, which costs a handshake; above this number more, it is closed at once.
REFUSED_CONNECTIONS: Final = 256

_log = logging.getLogger("gateway.proxy")

_Judged = TypeVar("_Judged", bound="Connection")


class Connection(Protocol):
    """The interface of an open connection."""

    deadline: float  # on the monotonic clock

    def on_deadline(self) -> None:
        """Act on the deadline, which has passed."""

    def drain(self) -> None:
        """Close as soon as no request is under way."""

    def cut(self) -> None:
        """Close at once."""

    def adopt(self, snapshot: Snapshot) -> None:
        """Use another configuration from now on."""


class Certified(Connection, Protocol):
    """A connection whose client showed a certificate."""

    trusted_until: float  # Unix seconds

    def on_trust_end(self) -> None:
        """Judge again: `trusted_until` has passed."""


class Connections:
    """The connections of one worker, of all kinds of listeners."""

    __slots__ = (
        "_adopted",
        "_beside",
        "_connection_counts",
        "_loop",
        "_per_address",
        "certified",
        "is_draining",
        "on_empty",
        "open",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection_counts: SharedCounts | None = None) -> None:
        """`connection_counts`: those of all workers; None for a single worker."""
        self.open: set[Connection] = set()
        self.certified: set[Certified] = set()  # those whose clients showed a certificate
        self.is_draining = False
        self.on_empty: Callable[[], None] | None = None
        self._adopted: Snapshot | None = None  # the last one
        self._loop = loop
        self._beside = 0  # requests that count as connections
        self._per_address: Counter[Address] = Counter()
        self._connection_counts = connection_counts

    def admit(self, address: Address | None, limits: Limits) -> bool | None:
        """Check the limits for a new connection. True: serve it; False: refuse it with a page; None: close it at once.

        `address`: None while only the balancer is known; then only the total limit is checked.
        """
        total, here = self._counts(address)
        if total >= limits.connections + REFUSED_CONNECTIONS or here >= limits.connections_per_ip + REFUSED_CONNECTIONS:
            return None
        return total < limits.connections and here < limits.connections_per_ip

    def _counts(self, address: Address | None) -> tuple[int, int]:
        """The connections of all clients and those of this one, with the requests that count as connections."""
        connection_counts = self._connection_counts
        if connection_counts is None:
            total = len(self.open) + self._beside
            return total, 0 if address is None else self._per_address[counted(address)]
        return connection_counts.total(), 0 if address is None else connection_counts.of(counted(address))

    def opened(self, connection: Connection, address: Address | None) -> None:
        """Count a new connection; call `closed` later with the same address."""
        self.open.add(connection)
        self._count(address, 1)

    def admit_beside(self, address: Address, limits: Limits) -> bool:
        """Count a request beside others of its HTTP/2 connection as one connection more; False if it is over a limit.

        It takes as much as a connection: one to an upstream, and memory for a part of its answer that waits.
        Call `end_beside` later.
        """
        total, here = self._counts(address)
        if total >= limits.connections or here >= limits.connections_per_ip:
            return False
        self._beside += 1
        self._count(address, 1)
        return True

    def end_beside(self, address: Address, count: int) -> None:
        """So many of these requests have ended."""
        self._beside -= count
        self._count(address, -count)

    def _count(self, address: Address | None, change: int) -> None:
        if address is not None:
            address = counted(address)
            self._per_address[address] += change
            if self._per_address[address] <= 0:
                del self._per_address[address]
        if self._connection_counts is not None:
            self._connection_counts.count(address, change)

    def replaced(self, old: Connection, new: Connection) -> None:
        """The same socket is now handled by another object."""
        self.open.discard(old)
        self.open.add(new)

    def closed(self, connection: Connection, address: Address | None) -> None:
        """Remove a closed connection from the counts."""
        self.open.discard(connection)
        self.certified.discard(connection)
        self._count(address, -1)
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if self.is_draining and not self.open and self.on_empty is not None:
            self.on_empty()

    # judging again

    def adopt(self, snapshot: Snapshot) -> None:
        """Judge all connections by another snapshot, some in each turn of the loop."""
        self._adopted = snapshot
        self._adopt_some(iter(tuple(self.open)), snapshot)

    def _adopt_some(self, connections: Iterator[Connection], snapshot: Snapshot) -> None:
        if snapshot is self._adopted:  # else a newer one has begun
            self._judge_some(connections, lambda connection: connection.adopt(snapshot))
            if operator.length_hint(connections):
                self._loop.call_soon(self._adopt_some, connections, snapshot)

    def _end_some(self, connections: Iterator[Certified]) -> None:
        self._judge_some(connections, lambda connection: connection.on_trust_end())
        if operator.length_hint(connections):
            self._loop.call_soon(self._end_some, connections)

    def _judge_some(self, connections: Iterator[_Judged], judge: Callable[[_Judged], None]) -> None:
        for connection in islice(connections, JUDGED_AT_ONCE):
            if connection not in self.open:
                continue
            try:
                judge(connection)
            except Exception:  # noqa: BLE001 - an error in one connection must not prevent judging the others
                _log.exception("judging %r again failed", connection)
                connection.deadline = 0.0  # it was not judged, so it must end

    # time, and the end

    def check_deadlines(self, now: float) -> None:
        """Call every connection whose deadline has passed. `now`: on the monotonic clock."""
        for connection in [each for each in self.open if each.deadline < now]:
            try:
                connection.on_deadline()
            except Exception:  # noqa: BLE001 - an error in one connection must not stop the sweep
                _log.exception("closing %r at its deadline failed", connection)

    def check_trust(self, unix_seconds: float) -> None:
        """Judge again the connections whose certificate, list or OCSP answer has expired."""
        self._end_some(iter([each for each in self.certified if each.trusted_until < unix_seconds]))

    def drain(self) -> None:
        """Idle connections close now, busy ones after their answer."""
        self.is_draining = True
        for connection in tuple(self.open):
            connection.drain()
        self._end_if_empty()

    def cut(self) -> None:
        """Close all at once; `on_empty` is called when all are closed and logged."""
        for connection in tuple(self.open):
            connection.cut()
