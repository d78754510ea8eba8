"""Whether a mail login belongs to a certificate.

Keeps true: a full address is compared as a whole, and a bare name only with local parts, so
`alice@other.example` never matches `alice@example.com`. A login that can be read in several ways matches no name.
If a CA has name constraints, only the names that mail constraints limit count: addresses and user principal names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, assert_never

from gateway.facts import Identity
from gateway.policy.characters import fold
from gateway.policy.rules import BindUser

_ADDRESS: Final = re.compile(r"[^@\s\x00-\x20\x7f-\xa0\"<>]+@[^@\s\x00-\x20\x7f-\xa0\"<>]+")


def is_address(name: str) -> bool:
    """Whether a name is a mail address: exactly one `@`, and neither a space nor a control."""
    return _ADDRESS.fullmatch(name) is not None


def belongs(user: str, bind: BindUser, identity: Identity, emails: tuple[str, ...]) -> bool:
    """Whether a user name belongs to the certificate. `bind` is the kind of name that is compared.

    `emails`: the certificate's addresses that match the rule's `email` condition.
    """
    match bind:
        case "email":
            return is_one_of(user, emails)
        case "upn":
            return is_one_of(user, identity.upns)
        case "cn":
            name = identity.common_name
            is_bound = not identity.is_constrained or (name is not None and is_address(name))
            return name is not None and is_bound and is_one_of(user, (name,))
        case "san":
            free = () if identity.is_constrained else identity.dns_names
            return is_one_of(user, (*emails, *identity.upns, *free))
    assert_never(bind)


def is_one_of(user: str, names: Iterable[str]) -> bool:
    r"""`user`, `user@domain` and `DOMAIN\user` compared with names, some with a domain and some without."""
    name = fold(user.rpartition("\\")[2])
    if not name or user.count("\\") > 1 or name.count("@") > 1:
        return False
    for candidate in map(fold, names):
        local, at, domain = candidate.rpartition("@")
        if name == candidate:
            return True
        if at and "@" not in name and name == local and domain:
            return True
    return False
