"""Name constraints on user principal names: a CA for `example.com` must not vouch for logins elsewhere.

What this module keeps true: wherever a CA on the path is constrained to mail addresses, user principal names obey
the same constraint. OpenSSL applies it to mail addresses only, since a UPN is an otherName (RFC 5280 section 4.2.1.10),
yet both name a mailbox's owner here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509


def check_upns(upns: Sequence[str], path: Sequence[x509.Certificate]) -> str | None:
    """Which user principal name a CA of `path` may not vouch for, in one line; None where all is well."""
    for ca in path if upns else ():
        try:
            constraints = ca.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        permitted = _mail_trees(constraints.permitted_subtrees)
        excluded = _mail_trees(constraints.excluded_subtrees)
        for upn in upns:
            if (permitted and not _is_in(upn, permitted)) or _is_in(upn, excluded):
                return f"the CA {ca.subject.rfc4514_string()!r} may not issue for the user {upn!r}"
    return None


def _mail_trees(subtrees: Iterable[x509.GeneralName] | None) -> list[str]:
    return [name.value.lower() for name in subtrees or () if isinstance(name, x509.RFC822Name)]


def _is_in(upn: str, trees: Iterable[str]) -> bool:
    """One mailbox, one host, or with a leading dot every host below it (RFC 5280 section 4.2.1.10)."""
    name = upn.lower()
    domain = name.rpartition("@")[2]
    return any(
        name == tree if "@" in tree else domain.endswith(tree) if tree.startswith(".") else domain == tree
        for tree in trees
    )
