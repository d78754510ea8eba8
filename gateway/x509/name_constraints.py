"""Checks name constraints that OpenSSL doesn't: a CA for `example.com` must not certify logins of other domains.

Keeps true: if a CA on the path has constraints on mail addresses, every name that is a mail address
must satisfy them, in whatever field it is. OpenSSL applies them only to rfc822Name and emailAddress (RFC 5280 section
4.2.1.10); but a user principal name is an otherName, and a common name or DNS name may be a mail address too. Names
that constraints can't express (a common name `alice`) don't count as logins then: `policy.binding` uses
`Identity.is_constrained`.
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
    """The CAs on the path that have name constraints of any kind, with these constraints."""
    return tuple(_constrained(path))


def check_names(identity: Identity, constraints: Constraints) -> str | None:
    """One line about a user that a CA may not certify; None if all names are allowed."""
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
    """User principal names, with or without a domain, and all other names that are mail addresses."""
    yield from identity.upns
    for name in (*(value for _, value in identity.rdns), *identity.dns_names):
        if _ADDRESS.fullmatch(name):
            yield name


def _mail_trees(subtrees: Iterable[x509.GeneralName] | None) -> list[str]:
    return [name.value.lower() for name in subtrees or () if isinstance(name, x509.RFC822Name)]


def _are_in(user: str, trees: Sequence[str]) -> Iterator[bool]:
    """For both ways to ignore case: with casefold a login with `s` also matches a name with U+017F."""
    return (_is_in(name, trees) for name in (user.lower(), user.casefold()))


def _is_in(name: str, trees: Iterable[str]) -> bool:
    """A tree is one mailbox, one host, or with a leading dot all hosts below it (RFC 5280 section 4.2.1.10)."""
    domain = name.rpartition("@")[2]
    return any(
        name == tree if "@" in tree else domain.endswith(tree) if tree.startswith(".") else domain == tree
        for tree in trees
    )
