"""Connections to one upstream: who gets which, and when an idle one ends.

Keeps true: a connection is taken and marked busy in one synchronous step, so that two exchanges can never
hold the same; one that saw anything but a clean end of an exchange never comes back.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

from aiohappyeyeballs import start_connection

from gateway import clock, tasks
from gateway.config.model import Server, Upstream
from gateway.errors import UpstreamError
from gateway.facts import Address, Reason
from gateway.proxy.health import MAX_STATUS_LINE_BYTES, Condition, watch
from gateway.proxy.upstream import UpstreamConnection
from gateway.proxy.upstream_tls import UpstreamContext
from gateway.tls.proxy_protocol import LOCAL_HEADER

if TYPE_CHECKING:
    from gateway.proxy.exchange import Exchange

# Idle connections kept for one server; beyond that a returned one is closed.
MAX_IDLE_CONNECTIONS: Final = 256
# RFC 8305 section 5: how long one address may take before the next is tried beside it.
HAPPY_EYEBALLS_DELAY_SECONDS: Final = 0.25
# TCP keep-alive towards upstreams: a long poll is silent for an hour, and firewalls forget sooner.
KEEPALIVE_IDLE_SECONDS: Final = 60
KEEPALIVE_INTERVAL_SECONDS: Final = 20

_FAILURES: Final = (OSError, TimeoutError, ssl.SSLError, ValueError)


class ServerState:
    """One server of the upstream as this worker sees it."""

    __slots__ = ("busy", "condition", "idle", "server", "url")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.idle: list[UpstreamConnection] = []  # last in, first out: the others may time out
        self.busy = 0
        self.condition = Condition()

    def __repr__(self) -> str:
        return f"<ServerState {self.url} busy={self.busy} idle={len(self.idle)} {self.condition}>"


class Pool:
    """The connections of one worker to one upstream."""

    __slots__ = ("_checks", "_is_closed", "_next", "servers", "tls", "upstream")

    def __init__(self, upstream: Upstream, tls: UpstreamContext | None) -> None:
        """`tls` is for the https servers among the upstream's."""
        self.upstream = upstream
        self.tls = tls
        self.servers = [ServerState(server) for server in upstream.servers]
        self._next = 0
        self._is_closed = False
        self._checks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.name} {self.servers}>"

    def start_checks(self) -> None:
        """Begin the active health checks, where there are any."""
        health = self.upstream.health
        if health is None:
            return
        for state in self.servers:
            host = self.upstream.host if self.upstream.host != "preserve" else state.server.host
            self._checks.append(
                tasks.spawn(
                    watch(state.server, state.condition, health, host, self._open_stream),
                    name=f"health of {state.url}",
                )
            )

    # which server

    def _choose(self, client: Address) -> ServerState:
        """The server whose turn it is. Raises `UpstreamError` where none is healthy."""
        servers = self.servers
        if len(servers) == 1:
            # Alone it is asked however it fared: an error of its own says more than "none is healthy".
            if servers[0].condition.is_up:
                return servers[0]
            raise self._nobody()
        now = clock.monotonic_seconds()
        able = [state for state in servers if state.condition.may_be_asked(now)]
        able = able or [state for state in servers if state.condition.is_up]
        if not able:
            raise self._nobody()
        match self.upstream.balance:
            case "least_connections":
                return min(able, key=lambda state: state.busy)
            case "client_ip":
                return max(able, key=lambda state: _weight(client, state))
            case "round_robin":
                return able[self._next % len(able)]

    def _nobody(self) -> UpstreamError:
        causes = "; ".join(f"{state.url}: {state.condition.cause}" for state in self.servers)
        return UpstreamError(Reason.NO_HEALTHY_UPSTREAM, f"no server of {self.upstream.name} is healthy: {causes}")

    # connections

    def take(self, client: Address) -> UpstreamConnection | None:
        """An idle connection to the server whose turn it is, marked busy; None where one must be made.

        Raises `UpstreamError` where no server is healthy.
        """
        if self.upstream.proxy_protocol:
            return None  # a connection says once whose it is
        state = self._choose(client)
        while state.idle:
            connection = state.idle.pop()
            if not connection.is_closing():
                state.busy += 1
                self._next += 1
                return connection
        return None

    def connect(self, exchange: Exchange, client: Address, header: bytes) -> asyncio.Task[None]:
        """Make a new connection, say `header` on it before anything else, and attach the exchange, or fail it."""
        return tasks.spawn(self._connect(exchange, client, header), name=f"connect to {self.upstream.name}")

    async def _connect(self, exchange: Exchange, client: Address, header: bytes) -> None:
        """Try server after server, beginning with the chosen one; nothing was sent yet, so that is safe."""
        try:
            first = self._choose(client)
        except UpstreamError as error:
            exchange.fail(error)
            return
        self._next += 1
        causes = []
        for state in [first, *(other for other in self.servers if other is not first and other.condition.is_up)]:
            state.busy += 1
            try:
                connection = await self._open(state, header)
            except _FAILURES as error:
                state.busy -= 1
                cause = str(error) or f"no connection within {self.upstream.timeouts.connect_seconds:g} s"
                state.condition.unreachable(clock.monotonic_seconds(), cause)
                causes.append(f"{state.url}: {cause}")
            except asyncio.CancelledError:
                state.busy -= 1
                raise
            else:
                state.condition.connected()
                exchange.attach(connection)
                return
        exchange.fail(UpstreamError(Reason.UPSTREAM_UNREACHABLE, "; ".join(causes)))

    async def _open(self, state: ServerState, header: bytes) -> UpstreamConnection:
        async with asyncio.timeout(self.upstream.timeouts.connect_seconds):
            plain = await _socket_to(state.server, header)
            loop = asyncio.get_running_loop()
            try:
                raw, connection = await loop.create_connection(lambda: UpstreamConnection(self, state), sock=plain)
            except BaseException:
                plain.close()
                raise
            tls, name = self._tls_for(state.server)
            if tls is not None:
                try:
                    secured = await loop.start_tls(raw, connection, tls, server_hostname=name)
                except BaseException:
                    raw.abort()
                    raise
                connection.secured_by(cast("asyncio.Transport", secured))
        return connection

    async def _open_stream(self, server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        plain = await _socket_to(server, LOCAL_HEADER if self.upstream.proxy_protocol else b"")
        tls, name = self._tls_for(server)
        try:
            return await asyncio.open_connection(limit=MAX_STATUS_LINE_BYTES, sock=plain, ssl=tls, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def _tls_for(self, server: Server) -> tuple[ssl.SSLContext | None, str | None]:
        """(context, name to verify) for a server."""
        if server.scheme == "http":
            return None, None
        tls = cast("UpstreamContext", self.tls)  # there is one where a server is https
        return tls.context, self.upstream.tls.server_name or server.host

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange ended cleanly."""
        state = connection.state
        state.busy -= 1
        if self._is_closed or len(state.idle) >= MAX_IDLE_CONNECTIONS:
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
        """Stop the checks and close every idle connection; busy ones end with their exchange."""
        for check in self._checks:
            check.cancel()
        self._is_closed = True
        self._checks.clear()
        for state in self.servers:
            while state.idle:
                state.idle.pop().close()


def _weight(client: Address, state: ServerState) -> bytes:
    """Rendezvous hashing: a client keeps its server whatever happens to the others."""
    return hashlib.blake2b(client.packed + state.url.encode(), digest_size=8).digest()


async def _socket_to(server: Server, header: bytes) -> socket.socket:
    """A connected socket with the PROXY header, if any, on its way, which TLS must follow.

    Names are resolved each time, and their addresses tried as RFC 8305 has it.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    connected = await start_connection(found, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_SECONDS, interleave=1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    if header:
        try:
            await loop.sock_sendall(connected, header)
        except BaseException:
            connected.close()
            raise
    return connected
