"""A resolver that knows what a test tells it."""

from __future__ import annotations

import asyncio

from gateway.proxy.upstream.names import Records


class Dns:
    """What is known of names, and who asked. A name that was never told of does not exist."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._found: dict[str, tuple[Records, Records]] = {}
        self._is_heard = asyncio.Event()
        self._is_heard.set()

    def says(self, name: str, *addresses: str, ttl: float = 60.0) -> None:
        """These addresses, IPv6 and IPv4, for so many seconds."""
        six = tuple(address for address in addresses if ":" in address)
        four = tuple(address for address in addresses if ":" not in address)
        self._found[name] = Records(six, ttl, None if six else "none"), Records(four, ttl, None if four else "none")

    def fails(self, name: str, cause: str = "SERVFAIL", *, six: Records | None = None) -> None:
        """Nobody can tell, or of IPv6 only what is given."""
        unknown = Records(cause=cause, is_answer=False)
        self._found[name] = six or unknown, unknown

    def is_silent(self) -> None:
        """Questions stay open until it `speaks`."""
        self._is_heard.clear()

    def speaks(self) -> None:
        self._is_heard.set()

    async def look_up(self, name: str) -> tuple[Records, Records]:
        self.asked.append(name)
        await self._is_heard.wait()
        nothing = Records(cause="the name does not exist")
        return self._found.get(name, (nothing, nothing))
