"""The audit trail: who did what to which certificate, and when. Entries can only be added; the database refuses to
change or delete them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from gateway.pki.registry.records import AuditEntry, CertificateRecord
from gateway.pki.registry.tables import AUDIT


@dataclass(frozen=True, slots=True)
class Event:
    """A new entry."""

    at: datetime
    actor: str
    action: str  # such as "issued", "revoked" or "ca init"
    authority: str | None = None
    serial: str | None = None
    detail: str = ""


def about(record: CertificateRecord, action: str, actor: str, now: datetime) -> Event:
    """A new entry about a certificate."""
    return Event(now, actor, action, record.authority, record.serial, record.subject)


def add(connection: Connection, event: Event) -> None:
    """Write one entry, in the same transaction as the change that it records."""
    connection.execute(insert(AUDIT).values(asdict(event)))


def last_releases(connection: Connection, authority: str) -> dict[str, datetime]:
    """When each serial of an authority was last released from a hold."""
    query = (
        select(AUDIT.c.serial, func.max(AUDIT.c.at).label("last"))
        .where(AUDIT.c.authority == authority, AUDIT.c.action == "released")
        .group_by(AUDIT.c.serial)
    )
    return {row.serial: row.last for row in connection.execute(query)}


def entries(connection: Connection, *, serial: str | None = None) -> list[AuditEntry]:
    """The entries, oldest first; only those about one certificate if `serial` is given."""
    query = select(AUDIT).order_by(AUDIT.c.id)
    if serial is not None:
        query = query.where(AUDIT.c.serial == serial)
    return [AuditEntry(**row) for row in connection.execute(query).mappings()]
