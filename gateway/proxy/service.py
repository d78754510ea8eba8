"""What the connections of one worker share: the snapshot, pools, limits, log, and the timer for deadlines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from gateway import clock
from gateway.logs.output import AccessLogOutput
from gateway.logs.record import AccessRecord
from gateway.proxy.connections import Connections
from gateway.proxy.counters import Counters
from gateway.proxy.fair_queue import FairQueue
from gateway.proxy.limits.kept_bodies import KeptBodies
from gateway.proxy.limits.lockout import Lockout
from gateway.proxy.limits.rates import HandshakeRate, RequestRate
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.proxy.ocsp.statuses import Statuses
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream.pools import Pools

# Deadlines are checked at this interval; they are seconds to an hour long and needn't be exact.
SWEEP_SECONDS: Final = 1.0


class Service:
    """The shared part of one worker process."""

    __slots__ = (
        "_tick",
        "access_log",
        "connections",
        "counters",
        "fair_queue",
        "handshakes",
        "kept_bodies",
        "lockout",
        "log_format",
        "loop",
        "pools",
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
        self.connections = Connections(loop, connection_counts)
        self.pools = Pools(snapshot.config)
        self.lockout = Lockout(loop)
        self.counters = Counters()
        self.statuses = Statuses()
        self.kept_bodies = KeptBodies()
        self.fair_queue = FairQueue(loop)
        self.handshakes = HandshakeRate(snapshot.config.limits.handshakes_per_second_per_ip)
        self.requests = RequestRate(snapshot.config.limits.requests_per_second_per_ip)
        self._tick: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start pools and deadlines. Raises `ConfigError` if an upstream's TLS files can't be used."""
        self.pools.follow(self.snapshot.config)
        self._enforce(clock.unix_seconds())  # the snapshot was made before the fork, perhaps days ago
        self._tick = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def adopt(self, snapshot: Snapshot) -> None:
        """Use another snapshot, and judge all open connections by it. After `ConfigError` nothing has changed."""
        self.pools.follow(snapshot.config)
        if snapshot.config.limits != self.snapshot.config.limits:
            self.handshakes = HandshakeRate(snapshot.config.limits.handshakes_per_second_per_ip)
            self.requests = RequestRate(snapshot.config.limits.requests_per_second_per_ip)
        self.adopt_lists(snapshot)

    def adopt_lists(self, snapshot: Snapshot) -> None:
        """Use the same configuration with other lists or at another time, and judge all open connections by it."""
        self.snapshot = snapshot
        self.connections.adopt(snapshot)

    def _enforce(self, unix_seconds: float) -> None:
        """If the `enforce` date of a rule has been reached, judge all open connections by the enforced rule."""
        engine = self.snapshot.engine
        if engine.changes_at <= unix_seconds:
            self.adopt_lists(replace(self.snapshot, engine=engine.at(unix_seconds)))

    def log(self, record: AccessRecord) -> None:
        """Write an access record, and count it."""
        self.counters.note(record)
        self.access_log.write(record.to_json_line() if self.log_format == "json" else record.to_combined_line())

    def status(self) -> dict[str, object]:
        """What `gateway status` shows of this worker."""
        return {
            "connections": len(self.connections.open),
            "is_draining": self.connections.is_draining,
            "dropped_log_lines": self.access_log.dropped_lines,
            "counters": self.counters.as_dict(),
            "ocsp_silent": self.statuses.silent_sites(),
            "upstreams": self.pools.status(),
        }

    def _sweep(self) -> None:
        now, unix_seconds = clock.monotonic_seconds(), clock.unix_seconds()
        self.connections.check_deadlines(now)
        self._enforce(unix_seconds)
        self.connections.check_trust(unix_seconds)
        self.handshakes.sweep(now)
        self.requests.sweep(now)
        self.pools.sweep(now)
        self._tick = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        """Stop the timer and close the pools."""
        if self._tick is not None:
            self._tick.cancel()
        self.pools.close()
