"""What is asked of the servers, and what the gateway must keep of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
IDLE_CONNECTIONS = 1000


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    path: str
    source: str = OUTSIDE
    tls: str = "1.3"
    shows_certificate: bool = True
    requests: int = 6_000
    connections: int = 32
    is_new_connection_each: bool = False
    is_varied: bool = False
    is_memory: bool = False
    nginx_ratio: float | None = None  # at most
    aiohttp_ratio: float | None = None  # at most
    bytes_at_most: int | None = None


SCENARIOS = [
    Scenario("1k", "1 KiB, keep-alive, client certificate", "1k", nginx_ratio=2.5, aiohttp_ratio=1 / 3),
    Scenario("1k-inside", "1 KiB, keep-alive, from inside without", "1k", source=INSIDE, shows_certificate=False,
             nginx_ratio=2.5, aiohttp_ratio=1 / 3),
    Scenario("1k-varied", "1 KiB, keep-alive, client certificate, each URI another", "1k", is_varied=True,
             nginx_ratio=2.5, aiohttp_ratio=1 / 3),
    Scenario("64k", "64 KiB, keep-alive, client certificate", "64k", requests=3_000, nginx_ratio=1.6),
    Scenario("handshake", "full mutual TLS 1.3 handshake + 1 request", "1k", requests=400, connections=8,
             is_new_connection_each=True, nginx_ratio=1.2),
    Scenario("handshake-1.2", "full mutual TLS 1.2 handshake + 1 request", "1k", tls="1.2", requests=400, connections=8,
             is_new_connection_each=True),
    Scenario("idle", "idle keep-alive connection", "1k", requests=0, connections=IDLE_CONNECTIONS, is_memory=True,
             bytes_at_most=60 * 1024),
]  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    scenario: str
    server: str
    value: float  # µs of CPU a request, or KiB a connection: the rounds' median
    rounds: list[float]
    requests_per_second: float | None

    def ratio(self, other: Measurement) -> float:
        """The median of this server's cost by the other's in the same round: slow phases of the machine cancel out."""
        return statistics.median(mine / its for mine, its in zip(self.rounds, other.rounds, strict=True))
