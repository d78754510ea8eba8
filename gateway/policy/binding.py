"""Whether a mail login belongs to a certificate.

Kept true here: a full address is compared as a whole, and a bare name with local parts only, so that
`alice@other.example` never passes for `alice@example.com`; a login that cannot be read one way passes for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from gateway.facts import Identity
from gateway.policy.characters import fold
from gateway.policy.rules import BindUser


def belongs(user: str, bind: BindUser, identity: Identity, emails: tuple[str, ...]) -> bool:
    """Whether one user name belongs to the certificate, by the kind of name that `bind` says.

    `emails` are those of the certificate that the rule's own `email` condition lets count.
    """
    match bind:
        case "email":
            return _is_one_of(user, emails)
        case "upn":
            return _is_one_of(user, identity.upns)
        case "cn":
            return identity.common_name is not None and _is_one_of(user, (identity.common_name,))
        case "san":
            return _is_one_of(user, (*emails, *identity.upns, *identity.dns_names))
    assert_never(bind)


def _is_one_of(user: str, names: Iterable[str]) -> bool:
    r"""`user`, `user@domain` and `DOMAIN\user` against names, some with a domain and some without."""
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
