"""A connected socket to an upstream server: its addresses are tried as RFC 8305 has it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from aiohappyeyeballs import start_connection

from gateway.errors import GatewayError

# RFC 8305 section 5: how long one address may take before the next is tried beside it.
HAPPY_EYEBALLS_DELAY_SECONDS: Final = 0.25
# TCP keep-alive towards upstreams: a long poll is silent for an hour, and firewalls forget sooner.
KEEPALIVE_IDLE_SECONDS: Final = 60
KEEPALIVE_INTERVAL_SECONDS: Final = 20


# uvloop has RuntimeError where others have OSError, for a descriptor that it has not let go of, say.
FAILURES: Final = (OSError, RuntimeError)
# What this machine has run out of, whatever the server is like: descriptors, buffers, memory.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ExhaustedError(GatewayError):
    """There is no socket to be had here, which says nothing of the server."""


async def dial(addresses: Iterable[str], port: int, header: bytes) -> socket.socket:
    """A socket to one of these IP addresses, with the PROXY header, if any, on its way, which TLS must follow.

    Raises `FAILURES`, and `ExhaustedError` where no server was tried.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # so that nothing is looked up
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
    """The IP address that a socket leads to, in the spelling of `ipaddress`."""
    return str(ip_address(connected.getpeername()[0]))
