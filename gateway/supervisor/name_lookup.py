"""Addresses of names, asked of the system in a thread of the asker's own.

Keeps true: a name server that is silent holds up only the URL whose name was asked for. The threads of an event loop
are shared, and a few silent servers take them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class OwnThreadResolver(AbstractResolver):
    """For one URL: a question is not asked while the one before it has no answer."""

    def __init__(self) -> None:
        self._is_asking = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises `OSError`."""
        if self._is_asking:
            raise OSError(f"the system's resolver has not answered yet what the address of {host} is")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def ask() -> None:
            try:
                addresses = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except Exception as error:  # noqa: BLE001 - it is the asker's
                tell(found.set_exception, error)
            else:
                tell(found.set_result, addresses)

        def tell(settle: Callable[[Any], None], outcome: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._end, found, settle, outcome)

        # A daemon: one that waits for a silent server must not hold up the end of the process.
        thread = threading.Thread(target=ask, name=f"look up {host}", daemon=True)
        thread.start()
        self._is_asking = True
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=its_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for its_family, _, proto, _, address in await found
        ]

    def _end(self, found: asyncio.Future[Any], settle: Callable[[Any], None], outcome: Any) -> None:
        self._is_asking = False
        if not found.done():
            settle(outcome)

    async def close(self) -> None:
        """Nothing is open."""
