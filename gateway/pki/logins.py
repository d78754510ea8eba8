"""Names in a certificate that are another person's login, which `bind_user: cn` or `upn` would let the holder use.

An address in a certificate's names must be the holder's own. A name of one word must not be the login of another person
with a certificate. A user principal name often differs from the mail address, so it is compared only with other
people's names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from gateway.errors import UsageError
from gateway.pki.names import name_key
from gateway.pki.registry.records import State
from gateway.pki.registry.tables import CERTIFICATES

# The characters around an address or login in a line of text.
_SEPARATORS: Final = re.compile(r"[\s()<>\[\]{}\"',;:|/]+")
_ADDRESS: Final = re.compile(r".+@.+")
_REMEDY: Final = "Write the holder's name, or the holder's own address or login."


def check_own(text: str, what: str, *, email: str | None, upn: str | None) -> None:
    """Refuse a text with an address or a Windows login that is not the holder's. Raises `UsageError`.

    They are compared in Unicode's compatibility form: some programs read a full-width `@` as `@`.
    """
    own = _own_keys(email, upn)
    for word in _SEPARATORS.split(unicodedata.normalize("NFKC", text)):
        account = word.rpartition("\\")[2]
        is_login = _ADDRESS.fullmatch(word) is not None or account != word
        if is_login and name_key(account) not in own:
            whose = f"the certificate is for {email}" if email else "the certificate has no mail address"
            raise UsageError(f"the {what} '{text}' names '{word}', but {whose}", _REMEDY)


class Logins:
    """The mail addresses and user principal names of the people who have certificates."""

    def __init__(self, holders: Iterable[tuple[str, str | None]]) -> None:
        """`holders`: the mail address and user principal name of each person."""
        self._by_address: dict[str, set[str]] = {}
        self._by_account: dict[str, set[str]] = {}
        for email, upn in holders:
            for address in map(name_key, filter(None, (email, upn))):
                self._by_address.setdefault(address, set()).add(name_key(email))
                self._by_account.setdefault(address.rpartition("@")[0], set()).add(name_key(email))

    def check_name(self, name: str, *, email: str, upn: str | None) -> None:
        """Refuse a name that is another holder's login. Raises `UsageError`."""
        key = name_key(name)
        others = self._by_account.get(key, set()) - {name_key(email)}
        if others and key not in _own_keys(email, upn):
            raise UsageError(f"the name '{name}' is the login of {min(others)}", _REMEDY)

    def check_upn(self, upn: str | None, *, email: str) -> None:
        """Refuse a user principal name that is another holder's, or another holder's address. Raises `UsageError`."""
        others = self._by_address.get(name_key(upn or ""), set()) - {name_key(email)}
        if others:
            raise UsageError(f"the user principal name '{upn}' is the login of {min(others)}", _REMEDY)


def registered(connection: Connection, now: datetime) -> Logins:
    """The logins of all certificates that are valid now, on hold or being made, of every authority."""
    query = (
        select(CERTIFICATES.c.email, CERTIFICATES.c.upn)
        .distinct()
        .where(CERTIFICATES.c.email.is_not(None), CERTIFICATES.c.not_after >= now)
        .where(CERTIFICATES.c.state != State.REVOKED.value)
    )
    return Logins((email, upn) for email, upn in connection.execute(query))


def _own_keys(email: str | None, upn: str | None) -> set[str]:
    """The holder's addresses and the parts before their `@`."""
    keys = {name_key(address) for address in (email, upn) if address is not None}
    return keys | {key.rpartition("@")[0] for key in keys}
