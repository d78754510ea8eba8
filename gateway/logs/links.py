"""Connections to the programs that take log lines: datagrams, and streams with or without TLS.

Keeps true: nothing blocks. A datagram is one whole message or is not sent. A stream's batch counts as sent when the
kernel has taken it; if the connection is lost before that, the batch is sent again on the next one. What the other end
sends is ignored.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from gateway.logs.line_queue import LineQueue
from gateway.logs.sending import MAX_BATCH_BYTES, MAX_BATCH_LINES

UDP_BATCH_LINES: Final = 32  # by default, a receiver's buffer holds about 90 datagrams of 1 KiB, and drops further ones
UDP_PAUSE_SECONDS: Final = 0.005  # between batches: at most 6,400 lines a second
BUSY_SECONDS: Final = 0.02  # until a reader whose queue is full is tried again; Linux queues some hundred datagrams
ADDRESS_SECONDS: Final = 4.0  # for one address of a name; the next one is tried then
SEND_SECONDS: Final = 30.0  # a server that takes nothing for so long is connected to again
LINGER_SECONDS: Final = 1.0  # for the end of a connection
SEND_BUFFER_BYTES: Final = 1024 * 1024  # the kernel allows about 200 KiB by default; a line has at most 200 KB
_BUSY: Final = frozenset({errno.EAGAIN, errno.ENOBUFS})

# Sends one message. Raises `OSError`.
Send = Callable[[socket.socket, bytes], None]


class DatagramLink:
    """Sends each message as one datagram."""

    is_lost = False  # a failure shows at the next send

    def __init__(self, sock: socket.socket, send: Send, *, is_paced: bool = False) -> None:
        """`is_paced`: the network drops what the reader has no place for."""
        self._socket = sock
        self._send = send
        self._is_paced = is_paced

    async def send(self, queue: LineQueue) -> None:
        """Send a batch. Raises `OSError`."""
        for message in queue.head(MAX_BATCH_BYTES, UDP_BATCH_LINES if self._is_paced else MAX_BATCH_LINES):
            try:
                self._send(self._socket, message)
            except OSError as error:
                if error.errno in _BUSY:
                    await asyncio.sleep(BUSY_SECONDS)
                    return
                if error.errno == errno.EMSGSIZE:
                    queue.drop_first(f"a line of {len(message)} bytes is too long for a datagram")
                    continue
                raise
            queue.sent(1)
        if self._is_paced and len(queue):
            await asyncio.sleep(UDP_PAUSE_SECONDS)

    async def close(self) -> None:
        """Close the socket; what was sent is the kernel's."""
        self._socket.close()

    def abort(self) -> None:
        """Close the socket."""
        self._socket.close()


class StreamLink(asyncio.Protocol):
    """Sends messages one after the other over TCP, TLS or a unix socket; they carry their own length."""

    def __init__(self) -> None:
        self.is_lost = False
        self._transport: asyncio.Transport | None = None
        self._is_writable = asyncio.Event()
        self._is_writable.set()
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As of `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        # Then `resume_writing` means that everything was passed on. With `high=0` TLS would pause an empty buffer too.
        self._transport.set_write_buffer_limits(high=1, low=0)

    def connection_lost(self, exc: Exception | None) -> None:
        """As of `asyncio.Protocol`."""
        self.is_lost = True
        self._error = exc
        self._is_writable.set()
        self._ended.set()

    def pause_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        self._is_writable.clear()

    def resume_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        self._is_writable.set()

    async def send(self, queue: LineQueue) -> None:
        """Send a batch, and wait until the kernel has taken it. Raises `OSError`."""
        messages = queue.head(MAX_BATCH_BYTES, MAX_BATCH_LINES)
        transport = cast("asyncio.Transport", self._transport)
        transport.write(b"".join(messages))
        async with asyncio.timeout(SEND_SECONDS):
            await self._is_writable.wait()
        if self.is_lost:
            raise self._error if isinstance(self._error, OSError) else ConnectionResetError()
        queue.sent(len(messages))

    async def close(self) -> None:
        """Close the connection after its last bytes."""
        transport = cast("asyncio.Transport", self._transport)
        transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._ended.wait()
        transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket in its next turn

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


async def connect_datagrams(host: str, port: int) -> DatagramLink:
    """A UDP socket for this server. Raises `OSError`."""
    (family, kind, protocol, _, address), *_ = await _look_up(host, port, socket.SOCK_DGRAM)
    sock = _non_blocking(family, kind, protocol)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return DatagramLink(sock, _send_connected, is_paced=True)


async def connect_unix(path: str, send: Send | None = None) -> DatagramLink:
    """A unix datagram socket for this path. Raises `OSError`."""
    sock = _non_blocking(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return DatagramLink(sock, send or _send_connected)


async def connect_stream(host: str, port: int, context: ssl.SSLContext | None = None) -> StreamLink:
    """A TCP connection, with TLS if there is a context. Tries all addresses of the host. Raises `OSError`."""
    failure: OSError = ConnectionRefusedError()
    for found in await _look_up(host, port, socket.SOCK_STREAM):
        try:
            async with asyncio.timeout(ADDRESS_SECONDS):
                return await _connect_to(found, host, context)
        except OSError as error:
            failure = error
    raise failure


async def _connect_to(found: Any, host: str, context: ssl.SSLContext | None) -> StreamLink:
    family, kind, protocol, _, address = found
    loop = asyncio.get_running_loop()
    sock = _non_blocking(family, kind, protocol)
    try:
        # A server that vanishes is noticed after `SEND_SECONDS`; by default, the kernel tries for fifteen minutes.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_SECONDS * 1000))
        await loop.sock_connect(sock, address)
        name = None if context is None else host
        _, link = await loop.create_connection(StreamLink, sock=sock, ssl=context, server_hostname=name)
    except BaseException:
        sock.close()
        raise
    return link


async def _look_up(host: str, port: int, kind: socket.SocketKind) -> list[Any]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)


def _non_blocking(family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket for a link."""
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    if kind == socket.SOCK_DGRAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return sock


def _send_connected(sock: socket.socket, message: bytes) -> None:
    sock.send(message)
