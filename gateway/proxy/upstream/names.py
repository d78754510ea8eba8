"""Keeps the addresses of upstream servers' names up to date in the background.

Keeps true: a request never waits for DNS while there is a usable answer. A name is resolved again when its time to live
ends; if that fails, the last answer is used for at most `STALE_SECONDS` more. "The name does not exist" counts at once.
Without an answer, connecting fails with the cause. Addresses need no resolving.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway import clock, tasks
from gateway.config.model import NameServer
from gateway.errors import GatewayError
from gateway.proxy.upstream.addresses import Records, is_address
from gateway.proxy.upstream.hosts_file import HostsFile

# Some servers send 0; names are still not resolved more often than this.
MIN_TTL_SECONDS: Final = 1.0
# Admins who move a mail server don't always shorten a long TTL a day before.
MAX_TTL_SECONDS: Final = 300.0
# A name that does not exist may soon be created by an admin who sets up a server.
NEGATIVE_SECONDS: Final = 5.0
# After a failure. RFC 8767 section 5 recommends 30 s for resolvers with thousands of clients; here there are few names.
RETRY_SECONDS: Final = 5.0
# How long an expired answer is used while DNS fails: mail must work while DNS is down for an hour, but an old address
# may belong to another server later.
STALE_SECONDS: Final = 3600.0
# The hosts file has no TTL; checking it costs one system call.
HOSTS_SECONDS: Final = 1.0
# Failures of a resolver that is down are logged once a minute.
LOG_SECONDS: Final = 60.0

_log = logging.getLogger("gateway.names")

# Resolves a name: (IPv6, IPv4).
Lookup = Callable[[str], Awaitable[tuple[Records, Records]]]


class ResolveError(GatewayError):
    """The name of a server can't be resolved."""


@dataclass(slots=True)
class _Kind:
    """The last answer about IPv6, or about IPv4."""

    addresses: tuple[str, ...] = ()
    until_seconds: float = 0.0  # monotonic: when even a stale answer is no longer used

    def take(self, records: Records, now: float) -> None:
        if records.is_answer:
            self.addresses = records.addresses
            self.until_seconds = now + _clamped(records.ttl_seconds) + STALE_SECONDS
        elif now >= self.until_seconds:
            self.addresses = ()


class Name:
    """One name. `addresses`: the usable ones, in the order in which to try them."""

    __slots__ = (
        "_answered",
        "_due",
        "_kinds",
        "_look_up",
        "_told_seconds",
        "_watch",
        "addresses",
        "cause",
        "host",
        "listeners",
    )

    def __init__(self, host: str, look_up: Lookup) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()
        self.cause: str | None = None  # why the last look-up failed; None if it succeeded
        self.listeners: list[Callable[[], None]] = []  # called when `addresses` have changed
        self._look_up = look_up
        self._kinds = (_Kind(), _Kind())
        self._answered = asyncio.Event()  # set when there is an answer or a cause
        self._due = asyncio.Event()  # set: resolve now
        self._told_seconds: float | None = None  # monotonic; when a failure was logged last; None without failure
        self._watch = tasks.spawn(self._keep(), name=f"resolve {host}")

    def __repr__(self) -> str:
        return f"<Name {self.host} {' '.join(self.addresses) or self.cause}>"

    async def usable(self) -> tuple[str, ...]:
        """The addresses; waits only for the first answer, also after a change of DNS servers. Raises `ResolveError`."""
        if not self.addresses:
            await self._answered.wait()
        if not self.addresses:
            raise ResolveError(f"{self.host}: {self.cause}", "correct the name, or check the DNS servers")
        return self.addresses

    def ask_now(self) -> None:
        """Resolve again at once, because other DNS servers are configured."""
        self._answered.clear()
        self._due.set()

    def close(self) -> None:
        """Stop resolving this name."""
        self._watch.cancel()

    async def _keep(self) -> None:
        while True:
            self._due.clear()
            try:
                found = await self._look_up(self.host)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next look-up may succeed
                _log.exception("resolving %s failed", self.host)
                found = (Records(cause=f"{type(error).__name__}: {error}", is_answer=False),) * 2
            seconds = self._take(found, clock.monotonic_seconds())
            self._answered.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._due.wait()

    def _take(self, found: Sequence[Records], now: float) -> float:
        """Use the answer; returns after how many seconds to resolve again."""
        before = self.addresses
        for kind, records in zip(self._kinds, found, strict=True):
            kind.take(records, now)
        self.addresses = tuple(address for kind in self._kinds for address in kind.addresses)
        fresh = [records.ttl_seconds for records in found if records.addresses]
        failures = [records.cause for records in found if not records.is_answer]
        is_stale = any(kind.addresses and not each.is_answer for kind, each in zip(self._kinds, found, strict=True))
        causes = failures or [records.cause for records in found]
        self.cause = None if fresh else causes[-1]
        self._tell(before, now, is_failing=not fresh)
        if set(before) != set(self.addresses):
            for listener in tuple(self.listeners):
                listener()
        if not fresh or is_stale:
            return RETRY_SECONDS if failures else NEGATIVE_SECONDS
        return min(map(_clamped, fresh))

    def _tell(self, before: Sequence[str], now: float, *, is_failing: bool) -> None:
        after = self.addresses
        if not is_failing:
            if self._told_seconds is not None:
                self._told_seconds = None
                _log.warning("%s can be resolved again", self.host)
            if set(before) != set(after):
                _log.info("%s now has the addresses %s", self.host, ", ".join(after))
        elif self._told_seconds is None or now - self._told_seconds >= LOG_SECONDS or (before and not after):
            self._told_seconds = now
            used = f", the last answer ({', '.join(after)}) is still used" if after else ""
            _log.warning("%s can't be resolved%s: %s", self.host, used, self.cause)


class Names:
    """The names that the pools of one worker use; pools with the same name share its answers."""

    __slots__ = ("_hosts", "_look_up", "_names", "_servers")

    def __init__(
        self, servers: Sequence[NameServer] = (), *, hosts: HostsFile | None = None, look_up: Lookup | None = None
    ) -> None:
        """`servers`: the DNS servers to ask; empty: the system's. `look_up`: replaces DNS."""
        self._hosts = HostsFile() if hosts is None else hosts
        self._names: dict[str, Name] = {}
        self._servers: tuple[NameServer, ...] = tuple(servers)
        self._look_up = look_up

    def follow(self, servers: Sequence[NameServer]) -> None:
        """Use these DNS servers from now on; their answers replace earlier ones."""
        if tuple(servers) != self._servers:
            self._servers = tuple(servers)
            self._look_up = None
            for name in self._names.values():
                name.ask_now()

    def use(self, host: str, listener: Callable[[], None]) -> Name | None:
        """A name that is kept up to date until `leave`; None for an address. `listener` is called at every change."""
        if is_address(host):
            return None
        name = self._names.get(host)
        if name is None:
            self._names[host] = name = Name(host, self._resolve)
        name.listeners.append(listener)
        return name

    def leave(self, name: Name, listener: Callable[[], None]) -> None:
        """Stop calling `listener`; after the last one, the name is no longer resolved."""
        name.listeners.remove(listener)
        if not name.listeners:
            name.close()
            del self._names[name.host]

    async def _resolve(self, host: str) -> tuple[Records, Records]:
        if found := self._hosts.find(host):
            six = tuple(address for address in found if ":" in address)
            return Records(six, HOSTS_SECONDS), Records(found[len(six) :], HOSTS_SECONDS)
        if self._look_up is None:
            # dnspython takes time and memory: a snapshot that needs it imports it before clients are served.
            from gateway.proxy.upstream.dns import Resolver  # noqa: PLC0415

            self._look_up = Resolver(self._servers).lookup
        return await self._look_up(host)


def _clamped(ttl_seconds: float) -> float:
    return min(MAX_TTL_SECONDS, max(MIN_TTL_SECONDS, ttl_seconds))
