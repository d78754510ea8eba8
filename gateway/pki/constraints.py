"""Name constraints, kept before anything is signed: a certificate that every verifier refuses is nobody's wish.

RFC 5280 section 4.2.1.10: an rfc822 constraint is a mailbox, a host, or with a leading dot a domain's hosts. A UPN
isn't covered by it on the wire, so its domain is held to the same constraint here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cryptography import x509

from gateway.errors import UsageError
from gateway.pki.names import domain_of


def check(path: Iterable[x509.Certificate], *, email: str | None, upn: str | None, hosts: Sequence[str] = ()) -> None:
    """Refuse names that an authority on the path may not sign. Raises `UsageError`."""
    for authority in path:
        permitted, excluded = _subtrees(authority)
        for name in (email, upn):
            if name is not None:
                _hold(authority, name, _of(x509.RFC822Name, permitted), _of(x509.RFC822Name, excluded), _is_mail_within)
        for host in hosts:
            _hold(authority, host, _of(x509.DNSName, permitted), _of(x509.DNSName, excluded), _is_host_within)


def domain(path: Iterable[x509.Certificate]) -> str | None:
    """The one mail domain that the nearest constrained authority on the path is bound to, for people to read."""
    for authority in path:
        found = _of(x509.RFC822Name, _subtrees(authority)[0])
        if len(found) == 1:
            return found[0]
    return None


def _hold(
    authority: x509.Certificate,
    name: str,
    permitted: Sequence[str],
    excluded: Sequence[str],
    is_within: Callable[[str, str], bool],
) -> None:
    is_permitted = not permitted or any(is_within(name, tree) for tree in permitted)
    if is_permitted and not any(is_within(name, tree) for tree in excluded):
        return
    bounds = ", ".join(permitted) or f"everything but {', '.join(excluded)}"
    raise UsageError(
        f"'{name}' is outside of what {authority.subject.rfc4514_string()} may sign: {bounds}",
        "Use the authority of that domain.",
    )


def _is_mail_within(address: str, tree: str) -> bool:
    tree = tree.lower()
    if "@" in tree:
        local, _, host = address.rpartition("@")
        tree_local, _, tree_host = tree.rpartition("@")
        return host == tree_host and local.lower() == tree_local
    host = domain_of(address)
    return host.endswith(tree) if tree.startswith(".") else host == tree


def _is_host_within(host: str, tree: str) -> bool:
    tree = tree.lower().removeprefix(".")
    return host == tree or host.endswith(f".{tree}")


def _subtrees(authority: x509.Certificate) -> tuple[list[x509.GeneralName], list[x509.GeneralName]]:
    try:
        found = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return [], []
    return found.permitted_subtrees or [], found.excluded_subtrees or []


def _of(kind: type[Any], names: Iterable[x509.GeneralName]) -> list[str]:
    return list(_values(kind, names))


def _values(kind: type[Any], names: Iterable[x509.GeneralName]) -> Iterator[str]:
    for name in names:
        if isinstance(name, kind):
            yield str(name.value)
