"""For which hosts a server's certificate is valid, as browsers decide it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509

from gateway.x509.fields import extensions_of
from gateway.x509.unreadable import UNREADABLE


def uncovered_hosts(certificate: x509.Certificate, hosts: Sequence[str]) -> tuple[str, ...]:
    """The hosts of a site for which browsers would refuse the certificate (RFC 9525); never `*`."""
    try:
        san = extensions_of(certificate).get_extension_for_class(x509.SubjectAlternativeName).value
        names = {name.lower() for name in san.get_values_for_type(x509.DNSName)}
        addresses = {str(address) for address in san.get_values_for_type(x509.IPAddress)}
    except UNREADABLE:
        names, addresses = set(), set()

    def is_covered(host: str) -> bool:
        if host == "*" or host in names:
            return True
        if _is_address(bare := host.strip("[]")):
            return bare in addresses
        return not host.startswith("*.") and f"*.{host.partition('.')[2]}" in names

    return tuple(host for host in hosts if not is_covered(host))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
