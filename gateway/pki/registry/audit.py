"""The audit trail: who did what to which certificate, and when. Lines are added; the database refuses anything else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from gateway.pki.registry.records import AuditEntry, CertificateRecord
from gateway.pki.registry.tables import AUDIT


@dataclass(frozen=True, slots=True)
class Event:
    """What is written down."""

    at: datetime
    actor: str
    action: str  # the command's words: "cert revoke"
    authority: str | None = None
    serial: str | None = None
    detail: str = ""


def about(record: CertificateRecord, action: str, actor: str, now: datetime) -> Event:
    """What is written down about a certificate."""
    return Event(now, actor, action, record.authority, record.serial, record.subject)


def add(connection: Connection, event: Event) -> None:
    """Write one line, in the transaction of what it tells about."""
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
    """The trail, oldest first; of one certificate, or all."""
    query = select(AUDIT).order_by(AUDIT.c.id)
    if serial is not None:
        query = query.where(AUDIT.c.serial == serial)
    return [AuditEntry(**row) for row in connection.execute(query).mappings()]
