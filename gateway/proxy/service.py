"""What the connections of one worker share: the snapshot, the pools, the log and the timer for deadlines."""

from __future__ import annotations

import asyncio
import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, Literal, Protocol, TypeVar

from gateway import clock
from gateway.config.model import Upstream
from gateway.facts import Address, counted
from gateway.logs.output import AccessLogOutput
from gateway.logs.record import AccessRecord
from gateway.proxy.counters import Counters
from gateway.proxy.fair_queue import FairQueue
from gateway.proxy.limits.kept_bodies import KeptBodies
from gateway.proxy.limits.rates import HandshakeRate, RequestRate
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.proxy.ocsp.statuses import Statuses
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream.names import Names
from gateway.proxy.upstream.pool import Pool
from gateway.proxy.upstream.tls import upstream_tls

# Deadlines are checked at this interval; they are seconds to an hour long and needn't be exact.
SWEEP_SECONDS: Final = 1.0
# Failed logins are reported to the master in batches.
REPORT_SECONDS: Final = 0.1
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


class Service:
    """The shared part of one worker process."""

    __slots__ = (
        "_connection_counts",
        "_failures",
        "_names",
        "_per_address",
        "_pools",
        "_tick",
        "access_log",
        "bans",
        "certified",
        "connections",
        "counters",
        "fair_queue",
        "handshakes",
        "is_draining",
        "kept_bodies",
        "log_format",
        "loop",
        "on_empty",
        "on_failures",
        "requests",
        "snapshot",
        "statuses",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        access_log: AccessLogOutput,
        loop: asyncio.AbstractEventLoop,
        connection_counts: SharedCounts | None = None,
    ) -> None:
        """`connection_counts`: those of all workers; None for a single worker."""
        self.snapshot = snapshot
        self.access_log = access_log
        self.log_format = snapshot.config.access_log.format
        self.loop = loop
        self.connections: set[Connection] = set()
        self.certified: set[Certified] = set()  # those whose clients showed a certificate
        self.counters = Counters()
        self.statuses = Statuses()
        self.kept_bodies = KeptBodies()
        self.fair_queue = FairQueue(loop)
        self.is_draining = False
        self.on_empty: Callable[[], None] | None = None
        self.handshakes = HandshakeRate(snapshot.config.limits.handshakes_per_second_per_ip)
        self.requests = RequestRate(snapshot.config.limits.requests_per_second_per_ip)
        self.bans: dict[str, float] = {}  # lockout key → locked out until, in Unix seconds
        self.on_failures: Callable[[dict[str, int]], None] | None = None
        self._failures: dict[str, int] = {}  # lockout key → failed attempts not reported yet
        self._per_address: Counter[Address] = Counter()
        self._connection_counts = connection_counts
        self._names = Names(snapshot.config.name_servers)
        self._pools: dict[str, Pool] = {}
        self._tick: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start pools and deadlines. Raises `ConfigError` if an upstream's TLS files can't be used."""
        self._pools = self._pools_of(self.snapshot)
        for pool in self._pools.values():
            pool.start()
        self._enforce(clock.unix_seconds())  # the snapshot was made before the fork, perhaps days ago
        self._tick = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def pool(self, upstream: Upstream) -> Pool:
        """The pool of an upstream."""
        return self._pools[upstream.name]

    def adopt(self, snapshot: Snapshot) -> None:
        """Use another snapshot, and judge all open connections by it. After `ConfigError` nothing has changed."""
        before, self._pools = self._pools, self._pools_of(snapshot)
        kept = set(before.values()) & set(self._pools.values())
        self._names.follow(snapshot.config.name_servers)
        for pool in set(self._pools.values()) - kept:
            pool.start()
        for pool in set(before.values()) - kept:
            pool.close()
        if snapshot.config.limits != self.snapshot.config.limits:
            self.handshakes = HandshakeRate(snapshot.config.limits.handshakes_per_second_per_ip)
            self.requests = RequestRate(snapshot.config.limits.requests_per_second_per_ip)
        self.snapshot = snapshot
        self._adopt_some(iter(tuple(self.connections)), snapshot)

    def adopt_lists(self, snapshot: Snapshot) -> None:
        """Use the same configuration with other lists or at another time, and judge all open connections by it."""
        self.snapshot = snapshot
        self._adopt_some(iter(tuple(self.connections)), snapshot)

    def _enforce(self, unix_seconds: float) -> None:
        """If the `enforce` date of a rule has been reached, judge all open connections by the enforced rule."""
        engine = self.snapshot.engine
        if engine.changes_at <= unix_seconds:
            self.adopt_lists(replace(self.snapshot, engine=engine.at(unix_seconds)))

    def _pools_of(self, snapshot: Snapshot) -> dict[str, Pool]:
        """The pools for a snapshot; existing ones are kept if their upstream has not changed."""
        pools: dict[str, Pool] = {}
        for upstream in snapshot.config.upstreams:
            known = self._pools.get(upstream.name)
            # An upstream's CA or certificate file may have changed under the same name.
            tls = upstream_tls(upstream, None if known is None else known.tls)
            if known is None or known.tls is not tls or not _is_served_alike(known.upstream, upstream):
                known = Pool(upstream, tls, self._names)
            pools[upstream.name] = known
        return pools

    def _adopt_some(self, connections: Iterator[Connection], snapshot: Snapshot) -> None:
        if snapshot is self.snapshot:  # else a newer one has begun
            self._judge_some(connections, lambda connection: connection.adopt(snapshot))
            if operator.length_hint(connections):
                self.loop.call_soon(self._adopt_some, connections, snapshot)

    def _end_some(self, connections: Iterator[Certified]) -> None:
        self._judge_some(connections, lambda connection: connection.on_trust_end())
        if operator.length_hint(connections):
            self.loop.call_soon(self._end_some, connections)

    def _judge_some(self, connections: Iterator[_Judged], judge: Callable[[_Judged], None]) -> None:
        for connection in islice(connections, JUDGED_AT_ONCE):
            if connection not in self.connections:
                continue
            try:
                judge(connection)
            except Exception:  # noqa: BLE001 - an error in one connection must not prevent judging the others
                _log.exception("judging %r again failed", connection)
                connection.deadline = 0.0  # it was not judged, so it must end

    # connections

    def admit(self, address: Address | None) -> bool | None:
        """Check the limits for a new connection. True: serve it; False: refuse it with a page; None: close it at once.

        `address`: None while only the balancer is known; then only the total limit is checked.
        """
        limits = self.snapshot.config.limits
        connection_counts = self._connection_counts
        total = len(self.connections) if connection_counts is None else connection_counts.total()
        if total >= limits.connections + REFUSED_CONNECTIONS:
            return None
        here = 0
        if address is not None:
            address = counted(address)
            here = self._per_address[address] if connection_counts is None else connection_counts.of(address)
        if here >= limits.connections_per_ip + REFUSED_CONNECTIONS:
            return None
        return total < limits.connections and here < limits.connections_per_ip

    def opened(self, connection: Connection, address: Address | None) -> None:
        """Count a new connection; call `closed` later with the same address."""
        self.connections.add(connection)
        if address is not None:
            address = counted(address)
            self._per_address[address] += 1
        if self._connection_counts is not None:
            self._connection_counts.count(address, 1)

    def replaced(self, old: Connection, new: Connection) -> None:
        """The same socket is now handled by another object."""
        self.connections.discard(old)
        self.connections.add(new)

    def closed(self, connection: Connection, address: Address | None) -> None:
        """Remove a closed connection from the counts."""
        self.connections.discard(connection)
        self.certified.discard(connection)
        if address is not None:
            address = counted(address)
            self._per_address[address] -= 1
            if self._per_address[address] <= 0:
                del self._per_address[address]
        if self._connection_counts is not None:
            self._connection_counts.count(address, -1)
        if self.is_draining and not self.connections and self.on_empty is not None:
            self.on_empty()

    # lockout: counted here, decided by the master for all workers

    def note_failure(self, key: str, what: Literal["login", "certificate"]) -> None:
        """Count a failed login or a refused certificate; `key`: from `proxy.lockout.key_of`."""
        settings = self.snapshot.config.lockout
        if settings is None or what not in settings.count or self.on_failures is None:
            return
        if not self._failures:
            self.loop.call_later(REPORT_SECONDS, self._report_failures)
        self._failures[key] = self._failures.get(key, 0) + 1

    def _report_failures(self) -> None:
        failures, self._failures = self._failures, {}
        if self.on_failures is not None:
            self.on_failures(failures)

    def banned_seconds(self, key: str, now: float) -> float:
        """For how many more seconds a client is locked out; 0 if it is not. Call it only if there are `bans`."""
        return max(0.0, self.bans.get(key, now) - now)

    def log(self, record: AccessRecord) -> None:
        """Write an access record, and count it."""
        self.counters.note(record)
        self.access_log.write(record.to_json_line() if self.log_format == "json" else record.to_combined_line())

    def status(self) -> dict[str, object]:
        """What `gateway status` shows of this worker."""
        return {
            "connections": len(self.connections),
            "is_draining": self.is_draining,
            "dropped_log_lines": self.access_log.dropped_lines,
            "counters": self.counters.as_dict(),
            "ocsp_silent": self.statuses.silent_sites(),
            "upstreams": {
                name: [
                    {
                        "server": state.url,
                        "addresses": [] if state.name is None else state.name.addresses,
                        "busy": state.busy,
                        "idle": len(state.idle),
                        "is_up": state.condition.may_be_asked(clock.monotonic_seconds()),
                        "cause": state.condition.cause,
                    }
                    for state in pool.servers
                ]
                for name, pool in self._pools.items()
            },
        }

    # time

    def _sweep(self) -> None:
        now = clock.monotonic_seconds()
        for connection in [each for each in self.connections if each.deadline < now]:
            try:
                connection.on_deadline()
            except Exception:  # noqa: BLE001 - an error in one connection must not stop the sweep
                _log.exception("closing %r at its deadline failed", connection)
        unix_seconds = clock.unix_seconds()
        self._enforce(unix_seconds)
        self._end_some(iter([each for each in self.certified if each.trusted_until < unix_seconds]))
        self.handshakes.sweep(now)
        self.requests.sweep(now)
        for pool in self._pools.values():
            pool.sweep(now)
        self._tick = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def drain(self) -> None:
        """Accept no new work: idle connections close now, busy ones after their answer."""
        self.is_draining = True
        for connection in tuple(self.connections):
            connection.drain()
        if not self.connections and self.on_empty is not None:
            self.on_empty()

    def cut(self) -> None:
        """Close all connections at once; `on_empty` is called when all are closed and logged."""
        for connection in tuple(self.connections):
            connection.cut()

    def stop(self) -> None:
        """Stop the timer and close the pools."""
        if self._tick is not None:
            self._tick.cancel()
        for pool in self._pools.values():
            pool.close()


def _is_served_alike(one: Upstream, other: Upstream) -> bool:
    """True if a pool of one upstream can serve the other: equal except for the line in the file."""
    return replace(one, line=0) == replace(other, line=0)
