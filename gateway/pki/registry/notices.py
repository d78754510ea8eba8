"""The notices that were mailed about expiring certificates: each is sent only once, despite restarts and other nodes.

A keeper claims a notice for a few minutes before it sends it; only one keeper can. The notice counts as sent once the
mail server has accepted it. If the keeper dies in between, its claim runs out, and the next keeper sends the notice.
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

# Longer than sending a mail may take.
CLAIM_SECONDS: Final = 300
# If the recipient's server refuses a mail, it is tried again after waits that double each time.
FIRST_RETRY_SECONDS: Final = 60
MAX_RETRY_SECONDS: Final = 6 * 3600
_MAX_DOUBLINGS: Final = 16
FAILURE_CHARACTERS: Final = 200  # enough of a mail server's answer to see the cause

_Insert = Callable[[Table], sqlite.Insert | postgresql.Insert]
_INSERTS: Final[dict[str, _Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Kind(StrEnum):
    """The kind of a notice."""

    HOLDER = "holder"  # to the person whose certificate expires; the topic is the certificate's fingerprint
    SUMMARY = "summary"  # to the administrators; the topic is the day
    ALERT = "alert"  # by what the access log shows; not in the registry, since each machine has a log of its own
    OUTAGE = "outage"  # to the administrators; the topic is the day and a digest of the causes that refuse clients


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail. Kind, topic and threshold identify it."""

    kind: Kind
    topic: str
    recipient: str
    threshold: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Refused:
    """A mail that has not been delivered so far, with the mail server's answer."""

    recipient: str
    failure: str


def claim(connection: Connection, notice: Notice, now: datetime) -> bool:
    """Claim a notice that is due; False if it was sent, another keeper has claimed it, or it must wait."""
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
    """Record that the mail server has accepted it."""
    connection.execute(update(NOTICES).where(*_is(notice)).values(sent_at=now, failure=None))


def refused(connection: Connection, notice: Notice, failure: str, now: datetime) -> None:
    """Record that the mail server refused it for its recipient. It is due again after a wait that doubles each time."""
    attempts = connection.execute(select(NOTICES.c.attempts).where(*_is(notice))).scalar_one()
    delay = min(FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, _MAX_DOUBLINGS), MAX_RETRY_SECONDS)
    values = {"failure": failure[:FAILURE_CHARACTERS], "try_after": now + timedelta(seconds=delay)}
    connection.execute(update(NOTICES).where(*_is(notice)).values(values))


def put_back(connection: Connection, notice: Notice, now: datetime) -> None:
    """Give up the claim, because the mail server could not be reached. Any keeper may claim it at once."""
    values = {"try_after": now, "attempts": NOTICES.c.attempts - 1}
    connection.execute(update(NOTICES).where(*_is(notice), NOTICES.c.sent_at.is_(None)).values(values))


def is_due(connection: Connection, notice: Notice, now: datetime) -> bool:
    """Whether it may be claimed."""
    found = connection.execute(select(NOTICES.c.sent_at, NOTICES.c.try_after).where(*_is(notice))).one_or_none()
    return found is None or (found.sent_at is None and found.try_after <= now)


def undelivered(connection: Connection, since: datetime, limit: int) -> list[Refused]:
    """The mails that were last tried after `since` and refused, newest first."""
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
    """The certificates whose holders have to be told now, each with its notice, the most urgent first.

    `before`: the thresholds, as times before the expiry, in any order. If several have passed, only the shortest one
    counts. A threshold that is not shorter than the certificate's whole life is ignored.
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
