"""A loop and a clock on which time passes only when a test says so, and the gateway's attempts to connect."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from support import pki
from support.dialogue.ends import ServerEnd

from gateway.config.model import Server

if TYPE_CHECKING:
    from support.dialogue.world import World


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self, start: datetime = pki.NOW) -> None:
        self.start = start
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def unix_seconds(self) -> float:
        return self.now().timestamp()

    def monotonic_seconds(self) -> float:
        return 1000.0 + self.seconds


class Loop(asyncio.SelectorEventLoop):
    """A real loop on the test's clock, whose outgoing connections are the world's."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._world = world
        super().__init__()

    def time(self) -> float:
        return self._clock.monotonic_seconds()

    async def create_connection(self, protocol_factory: Any, *_: Any, sock: Any, **options: Any) -> Any:
        """What the pool asks for, on a socket that the world has given it."""
        protocol = protocol_factory()
        end = ServerEnd(self._world, protocol, sock.server, options)
        end.is_slow = sock.is_slow
        protocol.connection_made(end)
        sock.made.set_result(end)
        self._world.ends.append(end)
        return end, protocol

    async def start_tls(self, transport: Any, protocol: Any, sslcontext: Any, **options: Any) -> Any:
        """TLS on a connection to a server, without the TLS."""
        assert transport.protocol is protocol
        transport.options = {"ssl": sslcontext, **options}
        return transport


class Dial:
    """The gateway's attempt to reach a server; in place of the socket that comes of it."""

    def __init__(self, loop: Loop, addresses: tuple[str, ...], port: int, header: bytes) -> None:
        self.addresses = addresses  # in the order in which they would be tried
        self.server = Server("http", addresses[0], port)
        self.header = header  # what is said before anything else, for an upstream that takes the PROXY protocol
        self.made: asyncio.Future[ServerEnd] = loop.create_future()
        self.answer: asyncio.Future[None] = loop.create_future()
        self.is_slow = False

    def close(self) -> None:
        """As a socket is closed."""

    def getpeername(self) -> tuple[str, int]:
        """The first address is the one that took the connection."""
        return self.server.host, self.server.port
