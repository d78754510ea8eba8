"""Asks DNS for the addresses of a name and their time to live. Does no caching: `names` does.

Keeps true: an answer is always told apart from a failure. "The name does not exist" is an answer; a server that fails
or is silent for `LOOKUP_SECONDS` is a failure. A truncated answer is requested again over TCP.

dnspython takes 4 MiB, so this module is imported only where a name is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver

from gateway import tasks
from gateway.config.model import NameServer
from gateway.proxy.upstream.addresses import Records

# For one question to all servers together; each one has two seconds at a time.
LOOKUP_SECONDS: Final = 5.0
# Of one kind: a TCP answer could contain a thousand times more than real services have.
MAX_ADDRESSES: Final = 64

_BACKEND: Final = dns.asyncbackend.get_backend("asyncio")


class Resolver:
    """Asks the configured DNS servers, or the system's."""

    __slots__ = ("_resolv_conf", "_servers")

    def __init__(self, servers: Sequence[NameServer] = (), resolv_conf: str = "/etc/resolv.conf") -> None:
        """Without `servers`, `resolv_conf` is read for each look-up, with its search list."""
        self._servers = tuple(servers)
        self._resolv_conf = resolv_conf

    async def lookup(self, name: str) -> tuple[Records, Records]:
        """(IPv6 addresses, IPv4 addresses). Never raises: the records contain the cause of a failure."""
        try:
            stub = self._stub()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            unknown = Records(cause=f"{self._resolv_conf}: {error}", is_answer=False)
            return unknown, unknown
        six = tasks.spawn(self._ask(stub, name, dns.rdatatype.AAAA), name=f"resolve {name} AAAA")
        four = tasks.spawn(self._ask(stub, name, dns.rdatatype.A), name=f"resolve {name} A")
        found: tuple[Records, Records] = await asyncio.gather(six, four)
        return found

    def _stub(self) -> dns.asyncresolver.Resolver:
        if self._servers:
            stub = dns.asyncresolver.Resolver(configure=False)
            stub.nameservers = [dns.nameserver.Do53Nameserver(server.host, server.port) for server in self._servers]
        else:
            stub = dns.asyncresolver.Resolver(self._resolv_conf)
        stub.lifetime = LOOKUP_SECONDS
        return stub

    async def _ask(self, stub: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType) -> Records:
        try:
            answer = await stub.resolve(name, kind, search=not self._servers, backend=_BACKEND)
        except dns.resolver.NXDOMAIN:
            return Records(cause="the name does not exist")
        except dns.resolver.NoAnswer:
            return Records(cause="the name has no address")
        except (dns.exception.DNSException, OSError) as error:
            return Records(cause=str(error), is_answer=False)
        addresses = [str(ip_address(record.address)) for record in answer]
        if len(addresses) > MAX_ADDRESSES:
            addresses = sorted(addresses)[:MAX_ADDRESSES]  # always the same ones
        return Records(tuple(addresses), answer.chaining_result.minimum_ttl)
