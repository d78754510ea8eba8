"""How many certificates there are and which of them expire soon, for status, metrics and mails.

Only certificates that need attention count as expiring: those that are live and not renewed. OCSP signers don't count:
they are valid for at most a month, and are renewed regularly.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from gateway.pki.registry import certificates
from gateway.pki.registry.records import CertificateRecord, Purpose, State
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES


def counts(connection: Connection, now: datetime) -> Counter[tuple[str, str]]:
    """The number of certificates by authority and status; the status is that of `CertificateRecord.status`."""
    column = CERTIFICATES.c
    status = case(
        (and_(column.state.in_((State.LIVE.value, State.HELD.value)), column.not_after < now), "expired"),
        (and_(column.state == State.LIVE.value, column.supersede_at <= now), "superseded"),
        else_=column.state,
    )
    query = (
        select(AUTHORITIES.c.name, status.label("status"), func.count())
        .join(AUTHORITIES, AUTHORITIES.c.id == column.authority_id)
        .group_by(AUTHORITIES.c.name, "status")
    )
    return Counter({(name, word): count for name, word, count in connection.execute(query)})


def count_ending(connection: Connection, until: datetime, now: datetime) -> int:
    """How many certificates expire between `now` and `until`."""
    query = select(func.count()).select_from(CERTIFICATES).where(*_ends(until, now))
    return int(connection.execute(query).scalar_one())


def ending(connection: Connection, until: datetime, now: datetime, limit: int) -> list[CertificateRecord]:
    """The next `limit` certificates that expire between `now` and `until`, soonest first."""
    return certificates.find(connection, *_ends(until, now), limit=limit, is_soonest_first=True)


def _ends(until: datetime, now: datetime) -> tuple[ColumnElement[bool], ...]:
    column = CERTIFICATES.c
    return (
        column.state == State.LIVE.value,
        column.supersede_at.is_(None),
        column.purpose != Purpose.OCSP.value,
        column.not_after >= now,
        column.not_after <= until,
    )
