"""Name constraints on names that OpenSSL doesn't check: a CA for `example.com` must not vouch for logins elsewhere.

What this module keeps true: wherever a CA on the path is constrained to mail addresses, every name that is one obeys
the constraint, whatever field it stands in. OpenSSL applies it to rfc822Name and emailAddress only (RFC 5280 section
4.2.1.10); a user principal name is an otherName, and a common name or DNS name may hold an address as well. Names that
no constraint can express (a common name `alice`) name no login there: `policy.binding` asks `Identity.is_constrained`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cryptography import x509

from gateway.facts import Identity
from gateway.x509.fields import extensions_of, subject_of

Constraints = tuple[tuple[x509.Certificate, x509.NameConstraints], ...]

_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")


def constraints_on(path: Sequence[x509.Certificate]) -> Constraints:
    """The CAs on the path that have name constraints, of whatever kind, each with its own."""
    return tuple(_constrained(path))


def check_names(identity: Identity, constraints: Constraints) -> str | None:
    """Which user a CA may not vouch for, in one line; None where all is well."""
    for ca, constraint in constraints:
        permitted = _mail_trees(constraint.permitted_subtrees)
        excluded = _mail_trees(constraint.excluded_subtrees)
        for name in _users(identity) if permitted or excluded else ():
            if (
                name.count("@") != 1
                or (permitted and not all(_are_in(name, permitted)))
                or any(_are_in(name, excluded))
            ):
                return f"the CA {subject_of(ca).rfc4514_string()!r} may not issue for the user {name!r}"
    return None


def _constrained(path: Sequence[x509.Certificate]) -> Iterator[tuple[x509.Certificate, x509.NameConstraints]]:
    for ca in path:
        try:
            yield ca, extensions_of(ca).get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue


def _users(identity: Identity) -> Iterator[str]:
    """User principal names, with a domain or without, and all other names that are mail addresses."""
    yield from identity.upns
    for name in (*(value for _, value in identity.rdns), *identity.dns_names):
        if _ADDRESS.fullmatch(name):
            yield name


def _mail_trees(subtrees: Iterable[x509.GeneralName] | None) -> list[str]:
    return [name.value.lower() for name in subtrees or () if isinstance(name, x509.RFC822Name)]


def _are_in(user: str, trees: Sequence[str]) -> Iterator[bool]:
    """For each way to read the name without regard to case: a login with `s` belongs to a name with U+017F as well."""
    return (_is_in(name, trees) for name in (user.lower(), user.casefold()))


def _is_in(name: str, trees: Iterable[str]) -> bool:
    """One mailbox, one host, or with a leading dot every host below it (RFC 5280 section 4.2.1.10)."""
    domain = name.rpartition("@")[2]
    return any(
        name == tree if "@" in tree else domain.endswith(tree) if tree.startswith(".") else domain == tree
        for tree in trees
    )
