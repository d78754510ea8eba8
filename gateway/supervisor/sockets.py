"""The listening sockets: opened once, by the master, and inherited by every worker."""

from __future__ import annotations

import errno
import socket
from typing import Final

from gateway.config.model import Listener
from gateway.errors import OperationError

BACKLOG: Final = 1024
# A shorter time would drain phones' batteries; a longer one would lose connections, which carriers' NAT forgets.
KEEPALIVE_IDLE_SECONDS: Final = 300
KEEPALIVE_INTERVAL_SECONDS: Final = 30


def open_listener(listener: Listener) -> socket.socket:
    """A listening TCP socket. Raises `OperationError`.

    For an empty host it is an IPv6 socket that accepts IPv4 too, or an IPv4 socket on a machine without IPv6.
    """
    try:
        if listener.host:
            family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
            return _bound(family, listener.host, listener.port)
        if socket.has_dualstack_ipv6():
            return _bound(socket.AF_INET6, "::", listener.port, is_dual_stack=True)
        return _bound(socket.AF_INET, "0.0.0.0", listener.port)
    except OSError as error:
        raise OperationError(f"listen {listener.address}: {error.strerror}", _remedy(error.errno)) from error


def _bound(family: socket.AddressFamily, host: str, port: int, *, is_dual_stack: bool = False) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not is_dual_stack))
        # Accepted sockets inherit these. A long poll sends nothing for an hour; a phone without network does the same.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _remedy(number: int | None) -> str:
    match number:
        case errno.EADDRINUSE:
            return "stop the other program that listens there, or write another port"
        case errno.EACCES:
            return (
                "grant the capability CAP_NET_BIND_SERVICE, which ports below 1024 need: the systemd unit does it, "
                "for a container write --cap-add NET_BIND_SERVICE"
            )
        case errno.EADDRNOTAVAIL:
            return "write an address that this machine has; `ip address` lists them"
        case _:
            return "write another address"
