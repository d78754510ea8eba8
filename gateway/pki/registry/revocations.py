"""The one way to revoke, hold and release in the registry, for certificates in it and for serials that are not in it.

Keeps true: each change has its entry in the audit trail, in the same transaction. The caller signs the next list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from gateway.errors import OperationError
from gateway.pki.registry import audit, authorities, certificates
from gateway.pki.registry.records import AuthorityRecord, CertificateRecord, ListEntry, RevocationReason, State

_NOT_THERE: Final = "not in the registry"


@dataclass(frozen=True, slots=True)
class Change:
    """Who makes a change, and when; `source`: the list that it is taken from, for the audit trail."""

    actor: str
    now: datetime
    source: str = ""


def put(
    connection: Connection, authority: AuthorityRecord, known: CertificateRecord | None, entry: ListEntry, by: Change
) -> None:
    """Revoke or hold, as the entry's reason says. `known`: the certificate, None if it is not in the registry.

    Raises `OperationError` if the certificate's state changed meanwhile, or if it is already on the list.
    """
    action = "held" if entry.is_hold else "revoked"
    detail = f"{by.source}; {entry.reason}" if by.source else str(entry.reason)
    if known is None:
        authorities.add_foreign(connection, authority, entry)
        event = audit.Event(by.now, by.actor, action, authority.name, entry.serial, f"{_NOT_THERE}; {detail}")
    else:
        _list(connection, known, entry)
        event = replace(audit.about(known, action, by.actor, by.now), detail=f"{detail}: {known.subject}")
    audit.add(connection, event)


def give_up(
    connection: Connection, known: CertificateRecord, reason: RevocationReason, action: str, by: Change
) -> None:
    """Revoke a certificate that the desk itself gives up; `action` says why in the audit trail."""
    _list(connection, known, ListEntry(serial=known.serial, revoked_at=by.now, reason=reason))
    audit.add(connection, audit.about(known, action, by.actor, by.now))


def release(connection: Connection, authority: AuthorityRecord, known: CertificateRecord | str, by: Change) -> None:
    """Take a held certificate, or a held serial that is not in the registry, off the list.

    Raises `OperationError` if it isn't held.
    """
    if isinstance(known, CertificateRecord):
        certificates.take_off_list(connection, known)
        event = audit.about(known, "released", by.actor, by.now)
    else:
        if not authorities.take_off_hold(connection, authority, known):
            raise OperationError(f"{known} is not held", "Leave it out: only a held certificate can be released.")
        event = audit.Event(by.now, by.actor, "released", authority.name, known, _NOT_THERE)
    audit.add(connection, event)


def _list(connection: Connection, known: CertificateRecord, entry: ListEntry) -> None:
    state = State.HELD if entry.is_hold else State.REVOKED
    certificates.put_on_list(connection, known, state, entry.reason, entry.revoked_at)
