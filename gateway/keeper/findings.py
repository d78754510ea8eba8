"""What the keeper finds in the registry in each round: for status, metrics, log and mails.

Keeps true: there is no warning about a file that a site names, because the master already warns about that file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from gateway.commands import at_desk
from gateway.config.units import format_duration
from gateway.keeper.plan import Plan, canonical, to_keep
from gateway.keeper.renewal import signer_end, text
from gateway.pki import crl, ocsp_signer
from gateway.pki.authority import path_of
from gateway.pki.desk import Desk
from gateway.pki.registry import authorities, notices, survey
from gateway.pki.registry.notices import Refused
from gateway.pki.registry.records import AuthorityRecord, CertificateRecord
from gateway.pki.taken_back import is_revoked
from gateway.x509.fields import subject_of
from gateway.x509.loading import certificate_in

# How many certificates the administrators' mail lists; `gateway cert list` lists all.
NAMED: Final = 200
UNDELIVERED_SHOWN: Final = 20
SITES_SHOWN: Final = 5
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AuthorityFinding:
    """One authority."""

    name: str
    ends: datetime
    list_ends: datetime | None  # None: it has no revocation list yet
    list_number: int
    is_kept: bool  # True: the keeper has its passphrase and renews its list


@dataclass(frozen=True, slots=True)
class Findings:
    """What the keeper found in one round."""

    at: datetime
    authorities: tuple[AuthorityFinding, ...]
    counts: Counter[tuple[str, str]]  # (authority, status)
    ending: tuple[tuple[timedelta, int], ...]  # (time, number of certificates that end within it), longest first
    next: tuple[CertificateRecord, ...]  # the certificates that end next, at most `NAMED`
    problems: tuple[str, ...]  # revoked authorities that sites trust
    warnings: tuple[str, ...]
    undelivered: tuple[Refused, ...]  # mails of the last day that a mail server refused
    options: str  # with which `gateway ca` and `gateway cert` find the registry


def look(desk: Desk, plan: Plan, now: datetime) -> Findings:
    """Read the registry. Raises `OperationError`."""
    with desk.registry.reading() as connection:
        records = authorities.all_of(connection)
        due = {record.name for record in records if crl.is_due(connection, record, now)}
        return Findings(
            at=now,
            authorities=tuple(_authority(record, plan) for record in records),
            counts=survey.counts(connection, now),
            ending=tuple((within, survey.count_ending(connection, now + within, now)) for within in plan.before),
            next=tuple(survey.ending(connection, now + plan.horizon, now, NAMED)),
            problems=tuple(line for record in records for line in _trusted(connection, plan, record)),
            warnings=tuple(
                at_desk(line, plan.options) for record in records for line in _warnings(desk, plan, record, due, now)
            ),
            undelivered=_undelivered(connection, now),
            options=plan.options,
        )


def _undelivered(connection: Connection, now: datetime) -> tuple[Refused, ...]:
    return tuple(notices.undelivered(connection, now - _DAY, UNDELIVERED_SHOWN))


def _authority(record: AuthorityRecord, plan: Plan) -> AuthorityFinding:
    is_kept = record.name in plan.passphrase_files
    return AuthorityFinding(record.name, record.not_after, record.crl_next_update, record.crl_number, is_kept)


def _trusted(connection: Connection, plan: Plan, record: AuthorityRecord) -> Iterator[str]:
    """The problem that sites trust a revoked authority: a CA in `client_ca` is trusted even if its CA revoked it."""
    sites = plan.trusting.get(hashlib.sha256(record.certificate_der).hexdigest(), ())
    if sites and is_revoked(connection, path_of(record)):
        shown, more = sites[:SITES_SHOWN], len(sites) - SITES_SHOWN
        where = ", ".join(shown) + (f" and {more:,} more site{'' if more == 1 else 's'}" if more > 0 else "")
        yield (
            f"the authority '{record.name}' was revoked, and certificates that it issued are still let in: "
            f"it is in client_ca of {where}; replace it there by another authority's certificate, and reload"
        )


def _warnings(desk: Desk, plan: Plan, record: AuthorityRecord, due: set[str], now: datetime) -> Iterator[str]:
    name = record.name
    if canonical(desk.file(name, "crt")) not in plan.watched and (line := _end_of(record, plan, now)) is not None:
        yield line
    if record.not_after <= now or name in plan.passphrase_files:
        return
    is_told = canonical(desk.file(name, "crl")) in plan.watched and crl.is_running_out(record, now)
    if name in due and not is_told:
        if record.crl_next_update is None:
            cause = f"authority '{name}' has no revocation list yet"
        else:
            cause = f"the revocation list of authority '{name}' {_ends(record.crl_next_update, now)}"
        yield f"{cause}; run 'gateway ca crl {name}', or {to_keep(name)}"
    end = signer_end(desk, name)
    if end is not None and now >= end - ocsp_signer.RENEW_BEFORE:
        cause = f"the OCSP signer of authority '{name}' {_ends(end, now)}"
        yield f"{cause}; run 'gateway ca ocsp {name}', or {to_keep(name)}"


def _ends(end: datetime, now: datetime) -> str:
    return f"{'expired' if end <= now else 'expires'} {text(end)}"


def _end_of(record: AuthorityRecord, plan: Plan, now: datetime) -> str | None:
    """The warning that an authority ends; its text stays the same until the next threshold is reached."""
    subject = subject_of(certificate_in(record.certificate_der)).rfc4514_string()
    who = f"authority '{record.name}' ({subject})"
    if record.not_after <= now:
        return None  # its certificates have ended too, and it can't sign new ones
    reached = [within for within in plan.before if record.not_after - now <= within]
    if not reached:
        return None
    within = format_duration(reached[-1].total_seconds())
    cause = f"{who} expires {text(record.not_after)}, within {within}"
    return f"{cause}; run 'gateway ca init NEW-NAME' to make its successor"
