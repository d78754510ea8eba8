"""Addresses of names, asked of the system in a thread for each name.

Keeps true: a name server that is silent holds up only those that ask for its names. The threads of an event loop are
few and shared, so a handful of silent servers takes them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

# The system gives up after half a minute. A configuration, or the CAs it trusts, name a few servers.
MAX_NAMES_AT_ONCE: Final = 64

_Addresses = list[Any]  # as `socket.getaddrinfo` has them
_Key = tuple[str, int, int]


class ThreadPerNameResolver(AbstractResolver):
    """For one event loop."""

    def __init__(self) -> None:
        self._asking: dict[_Key, asyncio.Future[_Addresses | Exception]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses; who asks while the same question is under way gets its answer. Raises `OSError`."""
        key = host, port, family
        if key not in self._asking:
            if len(self._asking) >= MAX_NAMES_AT_ONCE:
                raise OSError(f"{MAX_NAMES_AT_ONCE} names are already being looked up, so {host} is not")
            self._ask(key)
        found = await asyncio.shield(self._asking[key])
        if isinstance(found, Exception):
            raise OSError(f"{host} can't be resolved: {found}") from found
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=its_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for its_family, _, proto, _, address in found
        ]

    def _ask(self, key: _Key) -> None:
        loop = asyncio.get_running_loop()
        host, port, family = key

        def work() -> None:
            found: _Addresses | Exception
            try:
                found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except Exception as error:  # noqa: BLE001 - it is the asker's
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(lambda: self._asking.pop(key).set_result(found))

        # A daemon: one that waits for a silent server must not hold up the end of the process.
        thread = threading.Thread(target=work, name=f"look up {host}", daemon=True)
        thread.start()
        self._asking[key] = loop.create_future()

    async def close(self) -> None:
        """Nothing is open."""
