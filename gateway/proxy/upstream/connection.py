"""One connection to an upstream server.

Keeps true: bytes go only to the exchange that holds the connection; unexpected bytes end the connection. An end by FIN
is told apart from a lost connection, and a slow client gets everything that arrived before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import Final, Protocol, cast

from gateway import clock
from gateway.config.model import Server, Upstream
from gateway.proxy.ports import Downstream, UpstreamUser
from gateway.proxy.send_progress import ServerProgress
from gateway.proxy.upstream.health import Condition
from gateway.proxy.upstream.names import Name
from gateway.tls.layer import untaken_bytes

# A connection is not used any more this long before the end that the server announces (`Keep-Alive: timeout=`): a
# request needs time to arrive, and servers count in whole seconds. Half of the announced time if that is less.
KEEP_ALIVE_MARGIN_SECONDS: Final = 1.0

# With this option, closing a socket resets it and frees its port.
_RESET: Final = struct.pack("ii", 1, 0)  # socket(7): SO_LINGER on, for no time

# For the answer to a refused upload, which is read in one piece.
MAX_UNREAD_BYTES: Final = 256 * 1024

# uvloop reads 250 KB at once; after a shorter read, no more data is waiting.
LARGE_READ_BYTES: Final = 200_000


class ServerState:
    """The state of one server of the upstream in this worker."""

    __slots__ = ("busy", "condition", "idle", "is_http_1_0", "name", "server", "url")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.idle: list[UpstreamConnection] = []  # last in, first out, so that the others can time out
        self.busy = 0
        self.is_http_1_0 = False  # the version of its last answer
        self.condition = Condition()
        self.name: Name | None = None  # None if the server is given by address

    def leave_old_addresses(self) -> None:
        """Close idle connections to addresses that the name no longer has; busy ones end with their exchange."""
        for connection in [each for each in self.idle if each.is_obsolete()]:
            self.idle.remove(connection)
            connection.close()

    def __repr__(self) -> str:
        return f"<ServerState {self.url} busy={self.busy} idle={len(self.idle)} {self.condition}>"


class Owner(Protocol):
    """What a connection asks of the pool that it belongs to."""

    upstream: Upstream

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange ended cleanly."""

    def drop(self, connection: UpstreamConnection, *, was_busy: bool) -> None:
        """Remove a connection that is closed or must not be used again."""


class UpstreamConnection(asyncio.Protocol):
    """The client side of one HTTP/1.1 connection."""

    __slots__ = (
        "_is_lost",
        "_is_paused",
        "_is_waiting",
        "_pinned_to",
        "_send_progress",
        "_socket",
        "address",
        "exchange",
        "exchanges",
        "idle_since",
        "is_spent",
        "is_write_paused",
        "pool",
        "state",
        "transport",
        "usable_until",
    )

    def __init__(self, pool: Owner, state: ServerState, address: str = "") -> None:
        """`address`: the IP address, for a server that is given by name."""
        self.pool = pool
        self.state = state
        self.address = address
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self.exchange: UpstreamUser | None = None
        self._pinned_to: Downstream[UpstreamConnection] | None = None
        self.exchanges = 0  # how many are finished; above 0 a failure may be due to a stale connection
        self.idle_since = 0.0
        self.usable_until: float | None = None  # while idle, monotonic; None if the server announces no end
        self.is_spent = False  # a body that belongs to no answer may arrive
        self.is_write_paused = False  # the server has not read what was sent
        self._is_lost = False
        self._is_paused = False  # by the exchange
        self._is_waiting = False  # other clients are served before more is read
        self._send_progress: ServerProgress | None = None  # set once the server had much to read

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self.state.url} {'busy' if self.exchange else 'idle'} after {self.exchanges}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport of the new connection."""
        self.transport = self._socket = cast("asyncio.Transport", transport)

    def secured_by(self, tls: asyncio.Transport) -> None:
        """Use the TLS transport from now on: the handshake is finished."""
        self.transport = tls

    def data_received(self, data: bytes) -> None:
        """Process bytes from the server."""
        exchange = self.exchange
        if exchange is None:
            self.close()  # data without a request must never reach the next exchange
        else:
            exchange.upstream_data(data)
            if len(data) > LARGE_READ_BYTES:
                self._wait_turn()

    def _wait_turn(self) -> None:
        """Let other clients be served before more is read: libuv continues at once after filling its buffer."""
        if self.exchange is not None and not self._is_waiting and not self._is_lost:
            self._is_waiting = True
            self._socket.pause_reading()
            self.exchange.wait_turn(self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        if not (self._is_paused or self.is_closing()):
            self._socket.resume_reading()

    def eof_received(self) -> bool:
        """The server sends no more; True to keep the connection open."""
        return self.exchange is not None and self.exchange.upstream_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed: tell the exchange or the client that owns it."""
        self._is_lost = True
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            owner, self._pinned_to = self._pinned_to, None
            self.pool.drop(self, was_busy=owner is not None)
            if owner is not None:
                owner.pinned_lost()
        else:
            self.pool.drop(self, was_busy=True)
            if exc is not None and (exchange.takes_body or self.is_write_paused) and (data := self._unread()):
                exchange.upstream_data(data)
            exchange.upstream_lost(exc)

    def _unread(self) -> bytes:
        """The server's answer that is still in the kernel after writing failed.

        A server may refuse an upload and close at once. Its reset then makes the next write fail, perhaps before the
        answer was read. The socket is still open: uvloop and asyncio close it after `connection_lost`.
        """
        if self.transport is not self._socket:
            return b""  # it is encrypted
        try:
            return os.read(self._socket.get_extra_info("socket").fileno(), MAX_UNREAD_BYTES)
        except OSError:
            return b""

    def pause_writing(self) -> None:
        """The server reads slower than the client sends: pause the request."""
        self.is_write_paused = True
        if self.exchange is not None:
            self.exchange.pause_request()

    def resume_writing(self) -> None:
        """The server has caught up: continue the request."""
        self.is_write_paused = False
        if self.exchange is not None:
            self.exchange.resume_request()

    def watch_progress(self, now: float, seconds: float) -> float:
        """Watch a server that has much to read and may read nothing for `seconds`; returns when to check it."""
        if self._send_progress is None:
            self._send_progress = ServerProgress(self)
        self._send_progress.begin(now)
        return self._send_progress.next_look(now, seconds)

    def next_look(self, now: float, seconds: float) -> float:
        """When to check a watched server again; not after `now` if it has read nothing for `seconds`."""
        return now if self._send_progress is None else self._send_progress.next_look(now, seconds)

    def untaken_bytes(self) -> int:
        """How many bytes the server has not acknowledged."""
        encrypted = untaken_bytes(self._socket)
        return encrypted if self.transport is self._socket else encrypted + self.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Stop reading from the server.

        This pauses the socket, not TLS: uvloop's TLS throws away its data if the connection ends while it is paused.
        """
        self._is_paused = True
        if not self._is_lost:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading."""
        self._is_paused = False
        if not self._is_waiting:
            self._socket.resume_reading()

    def is_closing(self) -> bool:
        """True if it can't carry another exchange."""
        return self._is_lost or self.transport.is_closing()

    def is_usable(self) -> bool:
        """True if another exchange can probably use it."""
        return not (self.is_closing() or self.is_obsolete() or self.is_ending())

    def is_ending(self) -> bool:
        """True if the server has announced to close it about now."""
        until = self.usable_until
        return until is not None and clock.monotonic_seconds() >= until

    def is_pinned_to(self, client: Downstream[UpstreamConnection]) -> bool:
        """True if it is this client's own, from an earlier exchange."""
        return self._pinned_to is client

    def is_obsolete(self) -> bool:
        """True if the server's name no longer has this connection's address."""
        name = self.state.name
        return name is not None and self.address not in name.addresses

    def _rest(self, keep_alive_seconds: int | None) -> None:
        self.exchange = self._send_progress = None
        self.exchanges += 1
        if keep_alive_seconds is None:
            self.usable_until = None
        else:
            margin = min(KEEP_ALIVE_MARGIN_SECONDS, keep_alive_seconds / 2)
            self.usable_until = clock.monotonic_seconds() + keep_alive_seconds - margin

    def release(self, keep_alive_seconds: int | None) -> None:
        """Return to the pool: the exchange is over and both sides agree where it ended.

        `keep_alive_seconds`: for how long the server says that it keeps the connection.
        """
        self._rest(keep_alive_seconds)
        if self._is_lost:
            return
        self.resume_reading()  # it may be paused for a slow client
        if self.transport.is_closing():
            self.pool.drop(self, was_busy=True)
        else:
            self.pool.give_back(self)

    def retire(self) -> None:
        """End the connection after the exchange, because a body that belongs to no answer may arrive."""
        self.exchange = None
        self.exchanges += 1
        if not self._is_lost:
            self.pool.drop(self, was_busy=True)
            self._reset()

    def _reset(self) -> None:
        """Close at once and free the port: a client can cause this with every request.

        Otherwise each would use a port for a minute (TIME_WAIT), until none is left.
        """
        if (plain := self._socket.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def pin(self, client: Downstream[UpstreamConnection], keep_alive_seconds: int | None, *, is_spent: bool) -> None:
        """Keep the connection for this client after the exchange.

        `is_spent`: a body may arrive, as for `retire`; it is used again only if it carries a login.
        """
        self._rest(keep_alive_seconds)
        self.is_spent = is_spent
        self.resume_reading()
        self._pinned_to = client

    def discard(self) -> None:
        """Close the connection, whatever it was used for; it must not be used again."""
        is_busy = self.exchange is not None or self._pinned_to is not None
        self.exchange = self._pinned_to = None
        if is_busy and not self._is_lost:
            self.pool.drop(self, was_busy=True)
        if self.is_spent:
            self._reset()
        else:
            self.transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self.transport.close()
