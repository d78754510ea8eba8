"""One connection to an upstream server.

Keeps true: bytes go to the one exchange that holds the connection; bytes that nobody asked for end it; the server's
last word is told from a connection that was merely lost, and a client that reads slowly gets all that came before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from gateway import clock
from gateway.proxy.uptake import ServerUptake
from gateway.tls.layer import untaken_bytes

if TYPE_CHECKING:
    from gateway.proxy.connection import ClientConnection
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.pool import Pool, ServerState
    from gateway.proxy.upgrade import Tunnel

# How long before the end that a server announces (`Keep-Alive: timeout=`) a connection is not used any more: a request
# is on its way for some of it, and servers count in whole seconds. Half of the time where that is less.
KEEP_ALIVE_MARGIN_SECONDS: Final = 1.0

# Closed with this a socket is reset, and leaves nothing behind.
_RESET: Final = struct.pack("ii", 1, 0)  # socket(7): SO_LINGER on, for no time

# An answer to an upload that was refused; it is read in one piece.
MAX_UNREAD_BYTES: Final = 256 * 1024

# uvloop reads 250 KB at once; with less, its buffer was not filled and there is no more.
LARGE_READ_BYTES: Final = 200_000


class UpstreamConnection(asyncio.Protocol):
    """The client side of one HTTP/1.1 connection."""

    __slots__ = (
        "_is_lost",
        "_is_paused",
        "_is_waiting",
        "_pinned_to",
        "_socket",
        "_uptake",
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

    def __init__(self, pool: Pool, state: ServerState, address: str = "") -> None:
        """`address`: where it leads, for a server that is given by name."""
        self.pool = pool
        self.state = state
        self.address = address
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self.exchange: Exchange | Tunnel | None = None
        self._pinned_to: ClientConnection | None = None
        self.exchanges = 0  # finished ones: whether a failure may be a stale connection's
        self.idle_since = 0.0
        self.usable_until: float | None = None  # while idle, monotonic; None where the server says nothing of it
        self.is_spent = False  # a body may come that belongs to no answer
        self.is_write_paused = False  # the server has yet to read what was sent
        self._is_lost = False
        self._is_paused = False  # by the exchange
        self._is_waiting = False  # others are served before more is read
        self._uptake: ServerUptake | None = None  # once the server had much to take

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self.state.url} {'busy' if self.exchange else 'idle'} after {self.exchanges}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server accepted."""
        self.transport = self._socket = cast("asyncio.Transport", transport)

    def secured_by(self, tls: asyncio.Transport) -> None:
        """TLS is finished, and what is written from here on is encrypted."""
        self.transport = tls

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        exchange = self.exchange
        if exchange is None:
            self.close()  # an answer to nothing: never to be given to the next exchange
        else:
            exchange.upstream_data(data)
            if len(data) > LARGE_READ_BYTES:
                self._wait_turn()

    def _wait_turn(self) -> None:
        """Let other clients be served before more is read: libuv reads on at once where its buffer was filled."""
        if self.exchange is not None and not self._is_waiting and not self._is_lost:
            self._is_waiting = True
            self._socket.pause_reading()
            self.exchange.wait_turn(self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        if not (self._is_paused or self.is_closing()):
            self._socket.resume_reading()

    def eof_received(self) -> bool:
        """The server said its last word."""
        return self.exchange is not None and self.exchange.upstream_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
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
        """What the kernel has of the server's answer where writing failed.

        A server may refuse an upload and close at once. The reset that follows fails the next write to it, perhaps
        before the answer was read. The socket is still open: uvloop and asyncio close it after `connection_lost`.
        """
        if self.transport is not self._socket:
            return b""  # it is encrypted
        try:
            return os.read(self._socket.get_extra_info("socket").fileno(), MAX_UNREAD_BYTES)
        except OSError:
            return b""

    def pause_writing(self) -> None:
        """The server reads slower than the client sends."""
        self.is_write_paused = True
        if self.exchange is not None:
            self.exchange.pause_request()

    def resume_writing(self) -> None:
        """The server has caught up."""
        self.is_write_paused = False
        if self.exchange is not None:
            self.exchange.resume_request()

    def watch_uptake(self, now: float, seconds: float) -> float:
        """The server has much to take, and `seconds` in which it may take nothing; returns when to look at it."""
        if self._uptake is None:
            self._uptake = ServerUptake(self)
        self._uptake.begin(now)
        return self._uptake.next_look(now, seconds)

    def next_look(self, now: float, seconds: float) -> float:
        """When to look again at a server that is watched; not after `now` where it has taken nothing for so long."""
        return now if self._uptake is None else self._uptake.next_look(now, seconds)

    def untaken_bytes(self) -> int:
        """What the server has not acknowledged yet."""
        encrypted = untaken_bytes(self._socket)
        return encrypted if self.transport is self._socket else encrypted + self.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Take nothing more from the server.

        The socket is stopped, not the TLS on it: uvloop's throws away what it holds when the connection ends meanwhile.
        """
        self._is_paused = True
        if not self._is_lost:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Go on where it stopped."""
        self._is_paused = False
        if not self._is_waiting:
            self._socket.resume_reading()

    def is_closing(self) -> bool:
        """True when it can't carry another exchange."""
        return self._is_lost or self.transport.is_closing()

    def is_usable(self) -> bool:
        """True when another exchange can go over it as far as is known."""
        return not (self.is_closing() or self.is_obsolete() or self.is_ending())

    def is_ending(self) -> bool:
        """True when the server is about to close it, by its own word."""
        until = self.usable_until
        return until is not None and clock.monotonic_seconds() >= until

    def is_pinned_to(self, client: ClientConnection) -> bool:
        """True when it has served this client before, and nobody else can have it."""
        return self._pinned_to is client

    def is_obsolete(self) -> bool:
        """True when the server's name no longer leads where this connection does."""
        name = self.state.name
        return name is not None and self.address not in name.addresses

    def _rest(self, keep_alive_seconds: int | None) -> None:
        self.exchange = self._uptake = None
        self.exchanges += 1
        if keep_alive_seconds is None:
            self.usable_until = None
        else:
            margin = min(KEEP_ALIVE_MARGIN_SECONDS, keep_alive_seconds / 2)
            self.usable_until = clock.monotonic_seconds() + keep_alive_seconds - margin

    def release(self, keep_alive_seconds: int | None) -> None:
        """The exchange is over and both sides agree where it ended: back to the pool.

        `keep_alive_seconds`: how long the server says that it keeps the connection now.
        """
        self._rest(keep_alive_seconds)
        if self._is_lost:
            return
        self.resume_reading()  # a client that was slow to the end has stopped it
        if self.transport.is_closing():
            self.pool.drop(self, was_busy=True)
        else:
            self.pool.give_back(self)

    def retire(self) -> None:
        """The exchange is over, and a body may come that belongs to no answer: the connection ends."""
        self.exchange = None
        self.exchanges += 1
        if not self._is_lost:
            self.pool.drop(self, was_busy=True)
            self._reset()

    def _reset(self) -> None:
        """Close at once, and free the port: a client may bring about many ends by a request each.

        Each would hold a port for a minute otherwise (TIME_WAIT), until there is none for anybody.
        """
        if (plain := self._socket.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def pin(self, client: ClientConnection, keep_alive_seconds: int | None, *, is_spent: bool) -> None:
        """The exchange is over, and the next one is this client's or nobody's.

        `is_spent`: as for `retire`; it is used again only where it carries a login.
        """
        self._rest(keep_alive_seconds)
        self.is_spent = is_spent
        self.resume_reading()
        self._pinned_to = client

    def discard(self) -> None:
        """Whatever it was used for is over, and the connection must not be used again."""
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
