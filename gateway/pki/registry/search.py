"""Searching for certificates, for `gateway cert list`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection

from gateway.errors import UsageError
from gateway.pki.names import name_key
from gateway.pki.registry import authorities, certificates
from gateway.pki.registry.records import CertificateRecord, ListEntry, State
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES
from gateway.x509.loading import certificate_in
from gateway.x509.serials import serial_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The certificates to find. None in a field means any."""

    user: str | None = None  # a part of the address, the name or the UPN
    authority: str | None = None
    expiring_within: timedelta | None = None  # only usable ones that expire within this time
    is_revoked: bool = False  # held ones too


def search(connection: Connection, wanted: Wanted, now: datetime) -> list[CertificateRecord]:
    """The certificates, oldest first. Raises `UsageError` if the authority doesn't exist."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.authority is not None:
        conditions.append(AUTHORITIES.c.id == authorities.get(connection, wanted.authority).id)
    if wanted.is_revoked:
        conditions.append(CERTIFICATES.c.state.in_((State.REVOKED.value, State.HELD.value)))
    found = certificates.find(connection, *conditions)
    if wanted.user is not None:
        part = name_key(wanted.user)
        found = [record for record in found if _is_named(record, part)]
    if wanted.expiring_within is not None:
        found = [record for record in found if _is_ending(record, wanted.expiring_within, now)]
    return found


@dataclass(frozen=True, slots=True)
class ListedOnly:
    """A serial on an authority's list whose certificate is not among those in the registry."""

    authority: str
    entry: ListEntry
    below_der: bytes | None = field(repr=False)  # the certificate, if it is of an authority in the registry


def listed_only(connection: Connection, wanted: Wanted) -> list[ListedOnly]:
    """Revoked or held serials that are not in the registry. Raises `UsageError` if the authority doesn't exist."""
    if not wanted.is_revoked or wanted.user is not None or wanted.expiring_within is not None:
        return []  # their names and dates are not known
    everyone = authorities.all_of(connection)
    chosen = everyone if wanted.authority is None else [authorities.get(connection, wanted.authority)]
    found: list[ListedOnly] = []
    for authority in chosen:
        entries = authorities.foreign(connection, authority)
        below = {
            serial_text(certificate_in(other.certificate_der).serial_number): other.certificate_der
            for other in everyone
            if entries and other.chain_der[:1] == (authority.certificate_der,)
        }
        known = certificates.states(connection, authority) if entries else {}
        found += (
            ListedOnly(authority.name, entry, below.get(entry.serial)) for entry in entries if entry.serial not in known
        )
    return found


def one(found: list[CertificateRecord], now: datetime, text: str) -> CertificateRecord:
    """The only certificate found, or the only one that is usable and not renewed. Raises `UsageError`."""
    usable = [record for record in found if record.is_usable(now) and record.supersede_at is None]
    meant = usable if len(found) > 1 else found
    if len(meant) != 1:
        raise UsageError(f"'{text}' matches several certificates: {certificates.serials(found)}", "Give one serial.")
    return meant[0]


def _is_named(record: CertificateRecord, part: str) -> bool:
    # Not in SQL: SQLite ignores case only for ASCII letters, and PostgreSQL compares by its locale.
    return any(part in name_key(name) for name in (record.email, record.common_name, record.upn) if name is not None)


def _is_ending(record: CertificateRecord, within: timedelta, now: datetime) -> bool:
    # A renewed certificate needs no attention.
    return record.is_usable(now) and record.supersede_at is None and record.not_after <= now + within
