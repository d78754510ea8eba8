"""A worker's event loop: uvloop's, with another `sock_connect`.

Keeps true: connecting to an IP address waits only for the other end. uvloop calls getaddrinfo for every address, in one
of four threads. That is half of the cost of a new connection, and while those threads wait for a name server that does
not answer, no upstream could be reached, even by its address.
"""

from __future__ import annotations

import asyncio
import os
import socket
from ipaddress import ip_address
from typing import Any

import uvloop


class WorkerLoop(uvloop.Loop):
    """The event loop of a worker process."""

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a non-blocking socket. Raises `OSError`."""
        if not _is_number(sock, address):
            await super().sock_connect(sock, address)
            return
        try:
            sock.connect(address)
        except BlockingIOError:
            await self._connected(sock, address)

    async def _connected(self, sock: socket.socket, address: Any) -> None:
        """Wait until the other end has accepted or refused the connection. Raises `OSError`."""
        writable: asyncio.Future[None] = self.create_future()
        self.add_writer(sock, _settle, writable)
        try:
            await writable
        finally:
            self.remove_writer(sock)
        if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, f"Connect call failed {address}: {os.strerror(error)}")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _is_number(sock: socket.socket, address: Any) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        ip_address(address[0])
    except ValueError:
        return False
    return True
