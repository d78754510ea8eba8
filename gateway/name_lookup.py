"""Resolves names with the system's resolver, in one thread per name.

Keeps true: a silent name server delays only look-ups of its own names. The event loop's shared threads would all be
blocked by a few silent servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

# A look-up ends after about 30 s. A configuration and its CAs name only a few servers.
MAX_NAMES_AT_ONCE: Final = 64

_Addresses = list[Any]  # as `socket.getaddrinfo` returns them
_Key = tuple[str, int, int]


class ThreadPerNameResolver(AbstractResolver):
    """A resolver for one event loop."""

    def __init__(self) -> None:
        self._asking: dict[_Key, asyncio.Future[_Addresses | Exception]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses; simultaneous look-ups of a name share one thread. Raises `OSError`."""
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
            except Exception as error:  # noqa: BLE001 - passed to the caller
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(lambda: self._asking.pop(key).set_result(found))

        # A daemon thread, so that a silent server does not delay the end of the process.
        thread = threading.Thread(target=work, name=f"look up {host}", daemon=True)
        thread.start()
        self._asking[key] = loop.create_future()

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""
