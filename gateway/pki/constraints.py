"""Name constraints are checked before anything is signed, since verifiers would refuse the certificate.

RFC 5280 section 4.2.1.10: an rfc822 constraint is a mailbox, a host, or, with a leading dot, the hosts of a domain. A
DNS constraint is a domain with everything below it. Neither covers a UPN, so the desk applies the rfc822 constraint to
the UPN's domain. If a certificate has no DNS name and its common name looks like a host name, the DNS constraint
applies to the common name, as in OpenSSL (`NAME_CONSTRAINTS_check_CN`) and in the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Final

from cryptography import x509

from gateway.errors import UsageError
from gateway.pki.names import domain_of
from gateway.x509.fields import extensions_of, subject_of

Host = x509.DNSName | x509.IPAddress

_EVERY_ADDRESS: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_HOST_LABEL: Final = r"(?!-)[A-Za-z0-9_-]+(?<!-)"
_HOST_LIKE: Final = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})+")  # as OpenSSL's cn2dnsid


def of_domain(domain: str, servers: Sequence[Host] | None) -> x509.NameConstraints:
    """The constraint to a mail domain, to servers in it, and to further domains and networks of servers.

    Without the DNS and IP parts, the authority's key could sign certificates for any web site. If `servers` is None,
    any server is permitted.
    """
    mail: list[x509.GeneralName] = [x509.RFC822Name(domain)]
    if servers is None:
        return x509.NameConstraints(mail, None)
    permitted = dict.fromkeys((x509.DNSName(domain), *servers))
    versions = {name.value.version for name in permitted if isinstance(name, x509.IPAddress)}
    excluded = [x509.IPAddress(every) for every in _EVERY_ADDRESS if every.version not in versions]
    return x509.NameConstraints([*mail, *permitted], excluded or None)


def inherited(path: Iterable[x509.Certificate]) -> x509.NameConstraints | None:
    """The constraint of the nearest authority on the path that is constrained to one mail domain."""
    return next((found for found in map(_constraint, path) if found is not None and _mail_domain(found)), None)


def check(
    path: Iterable[x509.Certificate],
    *,
    email: str | None = None,
    upn: str | None = None,
    hosts: Sequence[Host] = (),
    common_name: str | None = None,
) -> None:
    """Refuse names that an authority on the path may not sign. Raises `UsageError`."""
    has_dns_name = any(isinstance(host, x509.DNSName) for host in hosts)
    is_host = common_name is not None and not has_dns_name and _HOST_LIKE.fullmatch(common_name) is not None
    for authority in path:
        if email is not None:
            _hold(authority, email, x509.RFC822Name, _is_mail_within, "correct the address")
        if upn is not None:
            # A directory's own domain is often another than that of the mail: alice@corp.local.
            _hold(authority, upn, x509.RFC822Name, _is_mail_within, "leave the user principal name out")
        for host in hosts:
            is_within = _is_host_within if isinstance(host, x509.DNSName) else _is_address_within
            _hold(authority, host.value, type(host), is_within, "one that was made with --server for it")
        if is_host and not _is_held(authority, common_name, x509.DNSName, _is_host_within):
            raise UsageError(
                f"the common name '{common_name}' looks like a host name, and "
                f"{subject_of(authority).rfc4514_string()} may sign only for {_bounds(authority, x509.DNSName)}",
                "Give a host name of that domain too." if hosts else "Write a name with a space, or the mail address.",
            )


def domain(path: Iterable[x509.Certificate]) -> str | None:
    """The mail domain of `inherited`, for people to read; None if there is none."""
    found = inherited(path)
    return None if found is None else _mail_domain(found)


def _hold(
    authority: x509.Certificate,
    name: Any,
    kind: type[x509.GeneralName],
    is_within: Callable[[Any, Any], bool],
    instead: str,
) -> None:
    if not _is_held(authority, name, kind, is_within):
        raise UsageError(
            f"{subject_of(authority).rfc4514_string()} may sign only for {_bounds(authority, kind)}, not for '{name}'",
            f"Use an authority for that domain, or {instead}.",
        )


def _is_held(
    authority: x509.Certificate, name: Any, kind: type[x509.GeneralName], is_within: Callable[[Any, Any], bool]
) -> bool:
    permitted, excluded = _subtrees(authority, kind)
    is_permitted = not permitted or any(is_within(name, tree) for tree in permitted)
    return is_permitted and not any(is_within(name, tree) for tree in excluded)


def _bounds(authority: x509.Certificate, kind: type[x509.GeneralName]) -> str:
    permitted, excluded = _subtrees(authority, kind)
    return ", ".join(map(str, permitted)) or f"names outside of {', '.join(map(str, excluded))}"


def _is_mail_within(address: str, tree: str) -> bool:
    tree = tree.lower()
    if "@" in tree:
        local, _, host = address.rpartition("@")
        tree_local, _, tree_host = tree.rpartition("@")
        return host == tree_host and local.lower() == tree_local
    host = domain_of(address)
    return host.endswith(tree) if tree.startswith(".") else host == tree


def _is_host_within(host: str, tree: str) -> bool:
    host, tree = host.lower(), tree.lower().removeprefix(".")
    return host == tree or host.endswith(f".{tree}")


def _is_address_within(
    address: IPv4Address | IPv6Address | IPv4Network | IPv6Network, tree: IPv4Network | IPv6Network
) -> bool:
    found = ip_network(address)
    return found.version == tree.version and found.subnet_of(tree)  # type: ignore[arg-type]


def _subtrees(authority: x509.Certificate, kind: type[x509.GeneralName]) -> tuple[list[Any], list[Any]]:
    """The names of a kind that the authority permits and excludes."""
    found = _constraint(authority)
    if found is None:
        return [], []
    return _of(kind, found.permitted_subtrees), _of(kind, found.excluded_subtrees)


def _mail_domain(constraint: x509.NameConstraints) -> str | None:
    found = _of(x509.RFC822Name, constraint.permitted_subtrees)
    return str(found[0]) if len(found) == 1 else None


def _constraint(authority: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return extensions_of(authority).get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _of(kind: type[x509.GeneralName], names: Iterable[x509.GeneralName] | None) -> list[Any]:
    return [name.value for name in names or () if isinstance(name, kind)]
