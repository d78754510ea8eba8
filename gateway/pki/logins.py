"""Names that are somebody else's login: `bind_user: cn` and `upn` would let their holder in with it.

Kept true here: an address in a certificate's names is its holder's own, and a name of one word is not the login of
somebody else who has a certificate. A user principal name often differs from the mail address, so it is compared with
other people's addresses only.
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

# What may stand around an address or login in a line of text.
_SEPARATORS: Final = re.compile(r"[\s()<>\[\]{}\"',;:|/]+")
_ADDRESS: Final = re.compile(r".+@.+")
_REMEDY: Final = "Write the holder's name, or the holder's own address or login."


def check_own(text: str, what: str, *, email: str | None, upn: str | None) -> None:
    """Refuse a line with an address or a Windows login that is not the holder's. Raises `UsageError`.

    Compared in Unicode's compatibility form: a full-width `@` is an `@` to some readers.
    """
    own = _own_keys(email, upn)
    for word in _SEPARATORS.split(unicodedata.normalize("NFKC", text)):
        account = word.rpartition("\\")[2]
        is_login = _ADDRESS.fullmatch(word) is not None or account != word
        if is_login and name_key(account) not in own:
            whose = f"the certificate is for {email}" if email else "the certificate has no mail address"
            raise UsageError(f"the {what} '{text}' names '{word}', and {whose}", _REMEDY)


class Logins:
    """The mail addresses that certificates were issued for."""

    def __init__(self, emails: Iterable[str]) -> None:
        self._address_of: dict[str, str] = {}
        self._addresses: set[str] = set()
        for email in emails:
            key = name_key(email)
            self._addresses.add(key)
            self._address_of[key.rpartition("@")[0]] = email

    def check_name(self, name: str, *, email: str | None, upn: str | None) -> None:
        """Refuse a name of one word that is another holder's login. Raises `UsageError`."""
        key = name_key(name)
        if key in self._address_of and key not in _own_keys(email, upn):
            raise UsageError(f"the name '{name}' is the login of {self._address_of[key]}", _REMEDY)

    def check_upn(self, upn: str | None, *, email: str | None) -> None:
        """Refuse a user principal name that is another holder's address. Raises `UsageError`."""
        if upn is not None and name_key(upn) in self._addresses - _own_keys(email, None):
            raise UsageError(f"the user principal name '{upn}' is the mail address of another holder", _REMEDY)


def registered(connection: Connection, now: datetime) -> Logins:
    """Those whose certificates are good now, or held or being made, under every authority."""
    query = (
        select(CERTIFICATES.c.email)
        .distinct()
        .where(CERTIFICATES.c.email.is_not(None), CERTIFICATES.c.not_after >= now)
        .where(CERTIFICATES.c.state != State.REVOKED.value)
    )
    return Logins(connection.execute(query).scalars())


def _own_keys(email: str | None, upn: str | None) -> set[str]:
    """The holder's addresses and the parts before their `@`."""
    keys = {name_key(address) for address in (email, upn) if address is not None}
    return keys | {key.rpartition("@")[0] for key in keys}
