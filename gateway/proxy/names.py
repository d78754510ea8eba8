"""The addresses of upstream servers that are given by name, kept fresh in the background.

Keeps true: a request never waits for DNS while there is an answer that may be used; an answer is asked for again when
its time to live ends, and when that fails the last one counts for `STALE_SECONDS` more and no longer; "there is no such
name" counts at once. Without any answer a name leads nowhere, and says why. An address is no name and costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, NamedTuple

from gateway import clock, tasks
from gateway.config.model import NameServer
from gateway.errors import GatewayError
from gateway.proxy.hosts import Hosts

# Some servers say 0, and mean "ask again": not for every request, and not more often than this.
MIN_TTL_SECONDS: Final = 1.0
# Not everybody who moves a mail server thought of its day-long TTL the day before.
MAX_TTL_SECONDS: Final = 300.0
# A name that does not exist may soon: whoever sets up a server watches the gateway meanwhile.
NEGATIVE_SECONDS: Final = 5.0
# After nobody could tell. RFC 8767 section 5 has 30 s for resolvers with thousands of clients; here are a few names.
RETRY_SECONDS: Final = 5.0
# How long an answer counts beyond its time where nobody can tell: DNS may be down for an hour and mail goes on, but an
# address that was given up long ago may be somebody else's.
STALE_SECONDS: Final = 3600.0
# The hosts file has no times; looking at it costs one system call.
HOSTS_SECONDS: Final = 1.0
# A resolver that is down fails again and again: one line a minute says enough.
LOG_SECONDS: Final = 60.0

_log = logging.getLogger("gateway.names")


class Records(NamedTuple):
    """What was found out of a name's IPv6 addresses, or of its IPv4 ones."""

    addresses: tuple[str, ...] = ()
    ttl_seconds: float = 0.0  # the smallest on the way, aliases included
    cause: str | None = None  # why there are none
    is_answer: bool = True  # False: nobody could tell; what was known before may still hold


# Asks DNS: (IPv6, IPv4) of a name.
Lookup = Callable[[str], Awaitable[tuple[Records, Records]]]


class ResolveError(GatewayError):
    """There is no address that a server's name leads to."""


@dataclass(slots=True)
class _Kind:
    """The last answer about IPv6, or about IPv4."""

    addresses: tuple[str, ...] = ()
    until_seconds: float = 0.0  # monotonic: when even a stale answer ends

    def take(self, records: Records, now: float) -> None:
        if records.is_answer:
            self.addresses = records.addresses
            self.until_seconds = now + _clamped(records.ttl_seconds) + STALE_SECONDS
        elif now >= self.until_seconds:
            self.addresses = ()


class Name:
    """One name. `addresses` are those that may be used now, in the order in which to try them."""

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
        self.cause: str | None = None  # why the last question had no answer; None where it had one
        self.listeners: list[Callable[[], None]] = []  # told when `addresses` are others than before
        self._look_up = look_up
        self._kinds = (_Kind(), _Kind())
        self._answered = asyncio.Event()  # there is an answer to go by, or why there is none
        self._due = asyncio.Event()  # set: ask now
        self._told_seconds: float | None = None  # monotonic; when a failure was told last, None where all is well
        self._watch = tasks.spawn(self._keep(), name=f"resolve {host}")

    def __repr__(self) -> str:
        return f"<Name {self.host} {' '.join(self.addresses) or self.cause}>"

    async def usable(self) -> tuple[str, ...]:
        """The addresses; waits only for the first answer, or the first of other servers. Raises `ResolveError`."""
        if not self.addresses:
            await self._answered.wait()
        if not self.addresses:
            raise ResolveError(f"{self.host}: {self.cause}", "correct the name, or check the DNS servers")
        return self.addresses

    def ask_now(self) -> None:
        """Another server is to be asked: do not wait for the old answer's end."""
        self._answered.clear()
        self._due.set()

    def close(self) -> None:
        """Ask no more."""
        self._watch.cancel()

    async def _keep(self) -> None:
        while True:
            self._due.clear()
            try:
                found = await self._look_up(self.host)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next question may have an answer
                _log.exception("resolving %s failed", self.host)
                found = (Records(cause=f"{type(error).__name__}: {error}", is_answer=False),) * 2
            seconds = self._take(found, clock.monotonic_seconds())
            self._answered.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._due.wait()

    def _take(self, found: Sequence[Records], now: float) -> float:
        """Use what was found; returns after how many seconds to ask again."""
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
    """The names that the pools of one worker use; who uses the same name shares its answers."""

    __slots__ = ("_hosts", "_look_up", "_names", "_servers")

    def __init__(
        self, servers: Sequence[NameServer] = (), *, hosts: Hosts | None = None, look_up: Lookup | None = None
    ) -> None:
        """`servers`: the DNS servers to ask, none: the system's. `look_up` asks instead of DNS."""
        self._hosts = Hosts() if hosts is None else hosts
        self._names: dict[str, Name] = {}
        self._servers: tuple[NameServer, ...] = tuple(servers)
        self._look_up = look_up

    def follow(self, servers: Sequence[NameServer]) -> None:
        """Ask these servers from now on; what they say replaces what others said."""
        if tuple(servers) != self._servers:
            self._servers = tuple(servers)
            self._look_up = None
            for name in self._names.values():
                name.ask_now()

    def use(self, host: str, listener: Callable[[], None]) -> Name | None:
        """A name that is kept fresh until `leave`; None for an address. `listener` is told of every change."""
        if is_address(host):
            return None
        name = self._names.get(host)
        if name is None:
            self._names[host] = name = Name(host, self._resolve)
        name.listeners.append(listener)
        return name

    def leave(self, name: Name, listener: Callable[[], None]) -> None:
        """Tell `listener` no more; the last one who leaves ends the questions."""
        name.listeners.remove(listener)
        if not name.listeners:
            name.close()
            del self._names[name.host]

    async def _resolve(self, host: str) -> tuple[Records, Records]:
        if found := self._hosts.find(host):
            six = tuple(address for address in found if ":" in address)
            return Records(six, HOSTS_SECONDS), Records(found[len(six) :], HOSTS_SECONDS)
        if self._look_up is None:
            # dnspython takes some time and memory: a snapshot that needs it imports it before anybody is served.
            from gateway.proxy.resolver import Resolver  # noqa: PLC0415

            self._look_up = Resolver(self._servers).lookup
        return await self._look_up(host)


def is_address(host: str) -> bool:
    """True for an IP address, which needs no resolving."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _clamped(ttl_seconds: float) -> float:
    return min(MAX_TTL_SECONDS, max(MIN_TTL_SECONDS, ttl_seconds))
