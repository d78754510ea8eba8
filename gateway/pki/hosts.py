"""Names and addresses of servers for a server's certificate."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from cryptography import x509

from gateway.errors import UsageError
from gateway.pki.names import check_domain

ANY: Final = "any"


def check(hosts: Sequence[str]) -> list[x509.DNSName | x509.IPAddress]:
    """DNS names (`*.` for one label) and IP addresses, in order, once each. Raises `UsageError`."""
    found: list[x509.DNSName | x509.IPAddress] = []
    for host in hosts:
        name = _read(host)
        if name not in found:
            found.append(name)
    if not found:
        raise UsageError("no name of a server was given", "Give one like mail.example.com.")
    return found


def check_bounds(servers: Sequence[str]) -> list[x509.DNSName | x509.IPAddress] | None:
    """Domains and networks of servers that an authority may sign for; None for `any`. Raises `UsageError`."""
    if ANY in servers:
        if len(servers) > 1:
            raise UsageError(
                f"--server {ANY} was given together with others",
                f"Give only --server {ANY}, or only the domains and networks.",
            )
        return None
    return [_bound(server) for server in servers]


def _bound(server: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_network(server))
    except ValueError:
        if "/" in server:
            raise UsageError(
                f"'{server[:60]}' is not a network", "Write it like 10.0.0.0/24, without host bits."
            ) from None
        return x509.DNSName(check_domain(server))


def _read(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        wildcard = "*." if host.startswith("*.") else ""
        return x509.DNSName(wildcard + check_domain(host.removeprefix(wildcard)))
