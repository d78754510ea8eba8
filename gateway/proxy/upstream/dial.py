"""Connects to an upstream server, trying its addresses by RFC 8305 (Happy Eyeballs)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from aiohappyeyeballs import start_connection

from gateway.errors import GatewayError

# RFC 8305 section 5: after this time without a connection, the next address is tried too.
HAPPY_EYEBALLS_DELAY_SECONDS: Final = 0.25
# TCP keep-alive towards upstreams: a long poll may be silent for an hour, and firewalls drop such connections earlier.
KEEPALIVE_IDLE_SECONDS: Final = 60
KEEPALIVE_INTERVAL_SECONDS: Final = 20


# uvloop raises RuntimeError in some cases where others raise OSError.
FAILURES: Final = (OSError, RuntimeError)
# This machine has run out of descriptors, buffers or memory; the server is not the cause.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ExhaustedError(GatewayError):
    """No socket can be opened on this machine; the server may be fine."""


async def dial(addresses: Iterable[str], port: int, header: bytes) -> socket.socket:
    """A socket connected to one of these IP addresses, on which `header` (may be empty) was sent; TLS comes after it.

    Raises `FAILURES`, and `ExhaustedError` if this machine can't open a socket.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # so that no DNS look-up happens
    found = [
        info for host in addresses for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    ]
    try:
        connected = await start_connection(found, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_SECONDS, interleave=1)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            remedy = "raise the limit of open files (systemd: LimitNOFILE=)"
            raise ExhaustedError(f"no socket is left: {error}", remedy) from error
        raise
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    if header:
        try:
            await asyncio.get_running_loop().sock_sendall(connected, header)
        except BaseException:
            connected.close()
            raise
    return connected


def peer_address(connected: socket.socket) -> str:
    """The remote IP address of a socket, as `ipaddress` writes it."""
    return str(ip_address(connected.getpeername()[0]))
