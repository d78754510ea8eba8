"""The connections to one upstream: which server and connection a request gets, and when idle ones are closed.

Keeps true: a connection is taken and marked busy in one synchronous step, so two exchanges never use the same one. A
connection returns to the pool only after a clean end of its exchange. A connection to an address that the server's name
no longer has is not used again.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from gateway import clock, tasks
from gateway.config.model import Server, Upstream
from gateway.errors import UpstreamError
from gateway.facts import Address, Reason
from gateway.proxy.upstream import dial
from gateway.proxy.upstream.connection import ServerState, UpstreamConnection
from gateway.proxy.upstream.health import MAX_STATUS_LINE_BYTES, watch
from gateway.proxy.upstream.names import Names, ResolveError
from gateway.proxy.upstream.tls import UpstreamContext
from gateway.tls.proxy_protocol import LOCAL_HEADER

OnOpen = Callable[[UpstreamConnection], None]
OnFailure = Callable[[UpstreamError], None]

# Idle connections kept for one server; above this, returned ones are closed.
MAX_IDLE_CONNECTIONS: Final = 256

_log = logging.getLogger("gateway.health")

_FAILURES: Final = (*dial.FAILURES, TimeoutError, ssl.SSLError, ValueError, ResolveError)


class Pool:
    """The connections of one worker to one upstream."""

    __slots__ = ("_checks", "_is_closed", "_names", "_next", "servers", "tls", "upstream")

    def __init__(self, upstream: Upstream, tls: UpstreamContext | None, names: Names) -> None:
        """`tls`: for https servers. Call `start` afterwards."""
        self.upstream = upstream
        self.tls = tls
        self._names = names
        self.servers = [ServerState(server) for server in upstream.servers]
        self._next = 0
        self._is_closed = False
        self._checks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.name} {self.servers}>"

    def start(self) -> None:
        """Start resolving names, and the active health checks if configured."""
        for state in self.servers:
            state.name = self._names.use(state.server.host, state.leave_old_addresses)
        health = self.upstream.health
        if health is None:
            return
        for state in self.servers:
            host = self.upstream.host if self.upstream.host != "preserve" else state.server.authority
            self._checks.append(
                tasks.spawn(
                    watch(state.url, state.condition, health, host, partial(self._open_stream, state)),
                    name=f"health of {state.url}",
                )
            )

    # which server

    def _choose(self, client: Address) -> ServerState:
        """Choose the server for a request. Raises `UpstreamError` if none is healthy."""
        servers = self.servers
        if len(servers) == 1:
            # A single server is never skipped: its own error says more than "no server is healthy".
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
                turn = self._next % len(able)  # servers with equally few connections take turns
                return min(able[turn:] + able[:turn], key=_busy)
            case "client_ip":
                return max(able, key=lambda state: _weight(client, state))
            case "round_robin":
                return able[self._next % len(able)]

    def _nobody(self) -> UpstreamError:
        causes = "; ".join(f"{state.url}: {state.condition.cause}" for state in self.servers)
        return UpstreamError(Reason.NO_HEALTHY_UPSTREAM, f"no server of {self.upstream.name} is healthy: {causes}")

    # connections

    def take(self, client: Address) -> UpstreamConnection | None:
        """An idle connection to the chosen server, marked busy; None if a new one is needed.

        Raises `UpstreamError` if no server is healthy.
        """
        if self.upstream.proxy_protocol:
            return None  # each connection names its client once
        state = self._choose(client)
        while state.idle:
            connection = state.idle.pop()
            if connection.usable_until is not None and connection.is_ending():
                connection.close()
            elif not connection.is_closing():
                state.busy += 1
                self._next += 1
                return connection
        return None

    def connect(self, client: Address, header: bytes, on_open: OnOpen, on_failure: OnFailure) -> asyncio.Task[None]:
        """Open a connection, marked busy, and send `header` first. One of the functions is called in the end.

        If the task is cancelled, neither is called.
        """
        connecting = self._connect(client, header, on_open, on_failure)
        return tasks.spawn(connecting, name=f"connect to {self.upstream.name}")

    async def _connect(self, client: Address, header: bytes, on_open: OnOpen, on_failure: OnFailure) -> None:
        """Try all servers, beginning with the chosen one; this is safe because nothing was sent yet."""
        try:
            first = self._choose(client)
        except UpstreamError as error:
            on_failure(error)
            return
        self._next += 1
        causes = []
        for state in [first, *self._others(first)]:
            state.busy += 1
            state.condition.tried(clock.monotonic_seconds())
            try:
                connection = await self._open(state, header)
            except dial.ExhaustedError as error:
                state.busy -= 1  # not the server's fault, and the next one would fail too
                on_failure(UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"{state.url}: {error}"))
                return
            except _FAILURES as error:
                state.busy -= 1
                cause = str(error) or f"no connection within {self.upstream.timeouts.connect_seconds:g} s"
                if state.condition.unreachable(clock.monotonic_seconds(), cause):
                    _log.warning("%s can't be reached: %s", state.url, cause)
                causes.append(f"{state.url}: {cause}")
            except asyncio.CancelledError:
                state.busy -= 1
                raise
            else:
                if state.condition.connected():
                    _log.warning("%s can be reached again", state.url)
                on_open(connection)
                return
        on_failure(UpstreamError(Reason.UPSTREAM_UNREACHABLE, "; ".join(causes)))

    def _others(self, first: ServerState) -> list[ServerState]:
        """The servers to try after the first; those that recently could not be reached come last."""
        now = clock.monotonic_seconds()
        others = [state for state in self.servers if state is not first and state.condition.is_up]
        return sorted(others, key=lambda state: not state.condition.may_be_asked(now))

    async def _open(self, state: ServerState, header: bytes) -> UpstreamConnection:
        async with asyncio.timeout(self.upstream.timeouts.connect_seconds):
            plain = await dial.dial(await _addresses(state), state.server.port, header)
            loop = asyncio.get_running_loop()
            try:
                address = "" if state.name is None else dial.peer_address(plain)
                raw, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self, state, address), sock=plain
                )
            except BaseException:
                plain.close()
                raise
            try:
                _check_open(connection)
                tls, name = self._tls_for(state.server)
                if tls is not None:
                    secured = await loop.start_tls(raw, connection, tls, server_hostname=name)
                    connection.secured_by(cast("asyncio.Transport", secured))
                    _check_open(connection)
            except BaseException:
                raw.abort()
                raise
        return connection

    async def _open_stream(self, state: ServerState) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        header = LOCAL_HEADER if self.upstream.proxy_protocol else b""
        plain = await dial.dial(await _addresses(state), state.server.port, header)
        tls, name = self._tls_for(state.server)
        try:
            return await asyncio.open_connection(limit=MAX_STATUS_LINE_BYTES, sock=plain, ssl=tls, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def _tls_for(self, server: Server) -> tuple[ssl.SSLContext | None, str | None]:
        """(context, name to verify) for a server."""
        if server.scheme == "http":
            return None, None
        tls = cast("UpstreamContext", self.tls)  # set if a server is https
        return tls.context, self.upstream.tls.server_name or server.host

    def give_back(self, connection: UpstreamConnection) -> None:
        """Return a connection whose exchange ended cleanly."""
        state = connection.state
        state.busy -= 1
        is_obsolete = state.name is not None and connection.is_obsolete()
        if self._is_closed or len(state.idle) >= MAX_IDLE_CONNECTIONS or is_obsolete:
            connection.close()
            return
        connection.idle_since = clock.monotonic_seconds()
        state.idle.append(connection)

    def drop(self, connection: UpstreamConnection, *, was_busy: bool) -> None:
        """Remove a connection that is closed or must not be used again."""
        state = connection.state
        if was_busy:
            state.busy -= 1
        elif connection in state.idle:
            state.idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long, or that the server is about to close."""
        before = now - self.upstream.timeouts.idle_seconds
        for state in self.servers:
            while state.idle and state.idle[0].idle_since < before:
                state.idle.pop(0).close()
            for connection in [each for each in state.idle if each.is_ending()]:
                state.idle.remove(connection)
                connection.close()

    def close(self) -> None:
        """Stop checks and resolving, and close idle connections; busy ones end with their exchange."""
        if self._is_closed:
            return
        self._is_closed = True
        for check in self._checks:
            check.cancel()
        self._checks.clear()
        for state in self.servers:
            if state.name is not None:
                self._names.leave(state.name, state.leave_old_addresses)
            while state.idle:
                state.idle.pop().close()


def _busy(state: ServerState) -> int:
    return state.busy


def _weight(client: Address, state: ServerState) -> bytes:
    """Rendezvous hashing: a client keeps its server when others change."""
    return hashlib.blake2b(client.packed + state.url.encode(), digest_size=8).digest()


def _check_open(connection: UpstreamConnection) -> None:
    """Raise `OSError` if it was closed before an exchange had it; uvloop would still begin TLS on it."""
    if connection.is_closing():
        raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection at once")


async def _addresses(state: ServerState) -> tuple[str, ...]:
    return (state.server.host,) if state.name is None else await state.name.usable()
