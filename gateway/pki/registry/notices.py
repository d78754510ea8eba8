"""What was mailed about certificates that end, so that nobody is told twice: not after a restart, not by another node.

A notice is claimed before it is sent, by one of all programs that see it, for a few minutes; it counts as sent only
once the mail server has taken it. Who dies in between leaves a claim that ends; then whoever looks next sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, exists, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.pki.registry import certificates
from gateway.pki.registry.records import CertificateRecord, Purpose, State
from gateway.pki.registry.tables import CERTIFICATES, NOTICES

# Longer than the sending of a mail may take.
CLAIM_SECONDS: Final = 300
# A mail that its recipient's server refuses is tried again ever more slowly.
FIRST_RETRY_SECONDS: Final = 60
MAX_RETRY_SECONDS: Final = 6 * 3600
_MAX_DOUBLINGS: Final = 16
# As much of a mail server's answer as helps.
FAILURE_CHARACTERS: Final = 200

_Insert = Callable[[Table], sqlite.Insert | postgresql.Insert]
_INSERTS: Final[dict[str, _Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Kind(StrEnum):
    """What a notice is."""

    HOLDER = "holder"  # to the person whose certificate ends; the topic is the certificate's fingerprint
    SUMMARY = "summary"  # to the administrators; the topic is the day
    OUTAGE = "outage"  # to the administrators; the topic is the day and a digest of what refuses clients


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail, told apart by what it is about."""

    kind: Kind
    topic: str
    recipient: str
    threshold: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Refused:
    """A mail that could not be delivered so far."""

    recipient: str
    failure: str


def claim(connection: Connection, notice: Notice, now: datetime) -> bool:
    """Take a notice that is due for oneself; False where it was sent, or somebody else is at it, or it must wait."""
    seconds = int(notice.threshold.total_seconds())
    new = {"recipient": notice.recipient, "attempts": 0, "try_after": now}
    connection.execute(
        _INSERTS[connection.dialect.name](NOTICES)
        .values(kind=notice.kind.value, topic=notice.topic, threshold_seconds=seconds, **new)
        .on_conflict_do_nothing()
    )
    taken = (
        update(NOTICES)
        .where(*_is(notice), NOTICES.c.sent_at.is_(None), NOTICES.c.try_after <= now)
        .values(
            recipient=notice.recipient,
            attempts=NOTICES.c.attempts + 1,
            tried_at=now,
            try_after=now + timedelta(seconds=CLAIM_SECONDS),
        )
    )
    return connection.execute(taken).rowcount == 1


def sent(connection: Connection, notice: Notice, now: datetime) -> None:
    """The mail server has taken it."""
    connection.execute(update(NOTICES).where(*_is(notice)).values(sent_at=now, failure=None))


def refused(connection: Connection, notice: Notice, failure: str, now: datetime) -> None:
    """The mail server does not take it for its recipient: try again ever more slowly."""
    attempts = connection.execute(select(NOTICES.c.attempts).where(*_is(notice))).scalar_one()
    delay = min(FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, _MAX_DOUBLINGS), MAX_RETRY_SECONDS)
    values = {"failure": failure[:FAILURE_CHARACTERS], "try_after": now + timedelta(seconds=delay)}
    connection.execute(update(NOTICES).where(*_is(notice)).values(values))


def put_back(connection: Connection, notice: Notice, now: datetime) -> None:
    """It could not be tried at all: whoever reaches a mail server first may."""
    values = {"try_after": now, "attempts": NOTICES.c.attempts - 1}
    connection.execute(update(NOTICES).where(*_is(notice), NOTICES.c.sent_at.is_(None)).values(values))


def is_due(connection: Connection, notice: Notice, now: datetime) -> bool:
    """Whether it may be claimed."""
    found = connection.execute(select(NOTICES.c.sent_at, NOTICES.c.try_after).where(*_is(notice))).one_or_none()
    return found is None or (found.sent_at is None and found.try_after <= now)


def undelivered(connection: Connection, since: datetime, limit: int) -> list[Refused]:
    """The mails that were tried since then and refused, newest first."""
    query = (
        select(NOTICES.c.recipient, NOTICES.c.failure)
        .where(NOTICES.c.failure.is_not(None), NOTICES.c.sent_at.is_(None), NOTICES.c.tried_at >= since)
        .order_by(NOTICES.c.id.desc())
        .limit(limit)
    )
    return [Refused(*row) for row in connection.execute(query)]


def holders_due(
    connection: Connection, before: Sequence[timedelta], now: datetime, limit: int
) -> list[tuple[CertificateRecord, Notice]]:
    """The certificates whose holders are to be told now, each with its mail; the most urgent first.

    `before`: how long before the end, in any order. Of several that are reached the last one counts; one that was
    reached when the certificate was made tells nobody anything.
    """
    found: list[tuple[CertificateRecord, Notice]] = []
    inner = timedelta(0)
    for threshold in sorted(before):
        untold = _untold(connection, threshold, (now + inner, now + threshold), now, limit - len(found))
        found += [(record, Notice(Kind.HOLDER, record.fingerprint, str(record.email), threshold)) for record in untold]
        inner = threshold
    return found


def _untold(
    connection: Connection, threshold: timedelta, between: tuple[datetime, datetime], now: datetime, limit: int
) -> list[CertificateRecord]:
    seconds = int(threshold.total_seconds())
    life = type_coerce(CERTIFICATES.c.not_after, BigInteger) - type_coerce(CERTIFICATES.c.not_before, BigInteger)
    is_told = exists().where(
        NOTICES.c.kind == Kind.HOLDER.value,
        NOTICES.c.topic == CERTIFICATES.c.fingerprint,
        NOTICES.c.threshold_seconds == seconds,
        NOTICES.c.sent_at.is_not(None) | (NOTICES.c.try_after > now),
    )
    return certificates.find(
        connection,
        CERTIFICATES.c.state == State.LIVE.value,
        CERTIFICATES.c.supersede_at.is_(None),
        CERTIFICATES.c.email.is_not(None),
        CERTIFICATES.c.purpose.not_in((Purpose.SERVER.value, Purpose.OCSP.value)),
        CERTIFICATES.c.not_after > between[0],
        CERTIFICATES.c.not_after <= between[1],
        life > seconds,
        ~is_told,
        limit=limit,
        is_soonest_first=True,
    )


def _is(notice: Notice) -> tuple[ColumnElement[bool], ...]:
    seconds = int(notice.threshold.total_seconds())
    return (
        NOTICES.c.kind == notice.kind.value,
        NOTICES.c.topic == notice.topic,
        NOTICES.c.threshold_seconds == seconds,
    )
