"""Names and addresses of servers, as they go into a server's certificate."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509

from gateway.errors import UsageError
from gateway.pki.names import check_domain


def check(hosts: Sequence[str]) -> list[x509.DNSName | x509.IPAddress]:
    """DNS names (`*.` for one label) and IP addresses, in order, once each. Raises `UsageError`."""
    found: list[x509.DNSName | x509.IPAddress] = []
    for host in hosts:
        name = _read(host)
        if name not in found:
            found.append(name)
    if not found:
        raise UsageError("a server needs a name", "Give one like mail.example.com.")
    return found


def _read(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        wildcard = "*." if host.startswith("*.") else ""
        return x509.DNSName(wildcard + check_domain(host.removeprefix(wildcard)))
