"""Connections to one upstream: who gets which, and when an idle one ends.

Keeps true: a connection is taken and marked busy in one synchronous step, so that two exchanges can never
hold the same; one that saw anything but a clean end of an exchange never comes back.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from gateway import clock, tasks
from gateway.config.model import Server, Upstream
from gateway.errors import UpstreamError
from gateway.facts import Address, Reason
from gateway.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gateway.proxy.exchange import Exchange

# Idle connections kept for one server; beyond that a returned one is closed.
MAX_IDLE_CONNECTIONS: Final = 256


class ServerState:
    """One server of the upstream as this worker sees it."""

    __slots__ = ("busy", "idle", "server", "url")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.idle: list[UpstreamConnection] = []  # last in, first out: the others may time out
        self.busy = 0

    def __repr__(self) -> str:
        return f"<ServerState {self.url} busy={self.busy} idle={len(self.idle)}>"


class Pool:
    """The connections of one worker to one upstream."""

    __slots__ = ("_next", "servers", "tls", "upstream")

    def __init__(self, upstream: Upstream, tls: ssl.SSLContext | None) -> None:
        """`tls` is for the https servers among the upstream's."""
        self.upstream = upstream
        self.tls = tls
        self.servers = [ServerState(server) for server in upstream.servers]
        self._next = 0

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.name} {self.servers}>"

    def take(self, client: Address) -> UpstreamConnection | None:
        """An idle connection to the server whose turn it is, marked busy; None where one must be made."""
        state = self._choose(client)
        while state.idle:
            connection = state.idle.pop()
            if not connection.is_closing():
                state.busy += 1
                return connection
        return None

    def _choose(self, client: Address) -> ServerState:
        servers = self.servers
        if len(servers) == 1:
            return servers[0]
        match self.upstream.balance:
            case "least_connections":
                return min(servers, key=lambda state: state.busy)
            case "client_ip":
                return servers[int(client) % len(servers)]
            case "round_robin":
                return servers[self._next % len(servers)]

    def connect(self, exchange: Exchange, client: Address) -> asyncio.Task[None]:
        """Make a new connection and attach the exchange to it, or fail the exchange."""
        first = self.servers.index(self._choose(client))
        self._next += 1
        return tasks.spawn(self._connect(exchange, first), name=f"connect to {self.upstream.name}")

    async def _connect(self, exchange: Exchange, first: int) -> None:
        """Try every server once, beginning with the chosen one; nothing was sent yet, so that is safe."""
        causes = []
        for offset in range(len(self.servers)):
            state = self.servers[(first + offset) % len(self.servers)]
            state.busy += 1
            try:
                connection = await self._open(state)
            except (OSError, TimeoutError, ssl.SSLError, ValueError) as error:
                state.busy -= 1
                causes.append(f"{state.url}: {str(error) or type(error).__name__}")
                continue
            except asyncio.CancelledError:
                state.busy -= 1
                raise
            exchange.attach(connection)
            return
        exchange.fail(UpstreamError(Reason.UPSTREAM_UNREACHABLE, "; ".join(causes)))

    async def _open(self, state: ServerState) -> UpstreamConnection:
        server = state.server
        is_tls = server.scheme == "https"
        async with asyncio.timeout(self.upstream.timeouts.connect_seconds):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: UpstreamConnection(self, state),
                server.host,
                server.port,
                ssl=self.tls if is_tls else None,
                server_hostname=(self.upstream.tls.server_name or server.host) if is_tls else None,
            )
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange ended cleanly."""
        state = connection.state
        state.busy -= 1
        if len(state.idle) >= MAX_IDLE_CONNECTIONS:
            connection.close()
            return
        connection.idle_since = clock.monotonic_seconds()
        state.idle.append(connection)

    def drop(self, connection: UpstreamConnection, *, was_busy: bool) -> None:
        """Forget a connection that is closed or no longer to be trusted."""
        state = connection.state
        if was_busy:
            state.busy -= 1
        elif connection in state.idle:
            state.idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        before = now - self.upstream.timeouts.idle_seconds
        for state in self.servers:
            while state.idle and state.idle[0].idle_since < before:
                state.idle.pop(0).close()

    def close(self) -> None:
        """Close every idle connection; busy ones end with their exchange."""
        for state in self.servers:
            while state.idle:
                state.idle.pop().close()
