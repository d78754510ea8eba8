"""Certificates in the registry: pending when signed, live when their files are written, on the list when revoked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, update

from gateway.errors import OperationError, UsageError
from gateway.pki.registry import claims
from gateway.pki.registry.records import AuthorityRecord, CertificateRecord, Purpose, RevocationReason, State
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES
from gateway.x509.serials import serial_text

_SERIAL: Final = re.compile(r"(?:serial=)?(?:0x)?([0-9A-Fa-f:]{1,60})")
MAX_SERIAL_BITS: Final = 159  # 20 bytes of a signed number, RFC 5280 section 4.1.2.2; lists can't name longer ones


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCertificate:
    """A certificate before it is in the registry."""

    certificate: x509.Certificate
    common_name: str
    purpose: Purpose
    email: str | None = None
    upn: str | None = None
    device: str | None = None
    p12_format: str | None = None
    run: str | None = None
    renews: str | None = None
    escrow: bytes | None = field(default=None, repr=False)


def parse_serial(text: str) -> str | None:
    """A serial as people and programs write it: `0A1B`, `0x0a1b`, `0a:1b`, openssl's `serial=0A1B`; else None."""
    if (found := _SERIAL.fullmatch(text)) is None:
        return None
    digits = found[1].replace(":", "")
    number = int(digits, 16) if digits else 0
    return serial_text(number) if can_be_listed(number) else None


def can_be_listed(number: int) -> bool:
    """Whether a revocation list can name this serial."""
    return number > 0 and number.bit_length() <= MAX_SERIAL_BITS


def add_pending(
    connection: Connection, authority: AuthorityRecord, new: NewCertificate, now: datetime, actor: str
) -> CertificateRecord:
    """Register a signed certificate that is not handed out yet; a renewal gets its names when it becomes live.

    Raises `NameTakenError`.
    """
    serial = serial_text(new.certificate.serial_number)
    row = connection.execute(
        insert(CERTIFICATES)
        .values(
            authority_id=authority.id,
            serial=serial,
            common_name=new.common_name,
            email=new.email,
            upn=new.upn,
            device=new.device,
            purpose=new.purpose.value,
            state=State.PENDING.value,
            p12_format=new.p12_format,
            subject=new.certificate.subject.rfc4514_string(),
            fingerprint=new.certificate.fingerprint(hashes.SHA256()).hex(),
            der=new.certificate.public_bytes(Encoding.DER),
            not_before=new.certificate.not_valid_before_utc,
            not_after=new.certificate.not_valid_after_utc,
            created_at=now,
            created_by=actor,
            run=new.run,
            renews=new.renews,
            escrow=new.escrow,
        )
        .returning(CERTIFICATES.c.id)
    ).scalar_one()
    if new.renews is None:
        claims.take(connection, authority.id, new.common_name, new.purpose, row, now)
    return get(connection, authority.name, serial)


def make_live(connection: Connection, record: CertificateRecord) -> None:
    """Make a pending certificate live. Raises `OperationError` if it is no longer pending."""
    _change(connection, record, State.PENDING, state=State.LIVE.value)


def supersede(connection: Connection, old: CertificateRecord, new: CertificateRecord, at: datetime) -> None:
    """Let a renewal take over the names; the old one is on the list from `at` on. Raises `OperationError`."""
    if not claims.hand_over(connection, old.id, new.id):
        raise OperationError(
            f"certificate {old.serial} was renewed or revoked meanwhile", f"Run 'gateway cert show {old.serial}'."
        )
    _change(connection, old, State.LIVE, supersede_at=at)


def put_on_list(
    connection: Connection, record: CertificateRecord, state: State, reason: RevocationReason, now: datetime
) -> None:
    """Revoke or hold. Raises `OperationError` if the certificate's state changed meanwhile."""
    _change(connection, record, record.state, state=state.value, reason=reason.value, revoked_at=now)
    if state is State.REVOKED:
        claims.release(connection, record.id)


def take_off_list(connection: Connection, record: CertificateRecord) -> None:
    """Release a held certificate. Raises `OperationError` if it isn't held."""
    _change(connection, record, State.HELD, state=State.LIVE.value, reason=None, revoked_at=None)


def find(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None, is_soonest_first: bool = False
) -> list[CertificateRecord]:
    """The certificates that meet every condition (on `CERTIFICATES` and `AUTHORITIES`), oldest first.

    `is_soonest_first`: in the order in which they expire.
    """
    order = (CERTIFICATES.c.not_after, CERTIFICATES.c.id) if is_soonest_first else (CERTIFICATES.c.id,)
    query = (
        select(CERTIFICATES, AUTHORITIES.c.name.label("authority"))
        .join(AUTHORITIES, AUTHORITIES.c.id == CERTIFICATES.c.authority_id)
        .where(*conditions)
        .order_by(*order)
        .limit(limit)
    )
    return [_record(dict(row)) for row in connection.execute(query).mappings()]


def get(connection: Connection, authority: str, serial: str) -> CertificateRecord:
    """The certificate with this serial under this authority. Raises `UsageError`."""
    found = find(connection, AUTHORITIES.c.name == authority, CERTIFICATES.c.serial == serial)
    if not found:
        raise UsageError(
            f"authority '{authority}' has no certificate {serial}", "Give a serial that 'gateway cert list' shows."
        )
    return found[0]


def states(connection: Connection, authority: AuthorityRecord) -> dict[str, State]:
    """The serials of all certificates of the authority in the registry, with their states."""
    query = select(CERTIFICATES.c.serial, CERTIFICATES.c.state).where(CERTIFICATES.c.authority_id == authority.id)
    return {serial: State(state) for serial, state in connection.execute(query)}


def lasting(connection: Connection, now: datetime) -> dict[str, str]:
    """The serials of all live certificates that are not expired or renewed, with the names of their authorities."""
    query = (
        select(CERTIFICATES.c.serial, AUTHORITIES.c.name)
        .join(AUTHORITIES, AUTHORITIES.c.id == CERTIFICATES.c.authority_id)
        .where(
            CERTIFICATES.c.state == State.LIVE.value,
            CERTIFICATES.c.not_after >= now,
            CERTIFICATES.c.supersede_at.is_(None),
        )
    )
    return {serial: authority for serial, authority in connection.execute(query)}  # noqa: C416 - rows, typed


def matching(connection: Connection, text: str, *, authority: str | None = None) -> list[CertificateRecord]:
    """The certificates with this serial, e-mail address or common name. Raises `UsageError` if there are none."""
    meant = [func.lower(CERTIFICATES.c.email) == text.lower(), CERTIFICATES.c.common_name == text]
    if (serial := parse_serial(text)) is not None:
        meant.append(CERTIFICATES.c.serial == serial)
    conditions: list[ColumnElement[bool]] = [or_(*meant)]
    if authority is not None:
        conditions.append(AUTHORITIES.c.name == authority)
    found = find(connection, *conditions)
    if not found:
        raise UsageError(
            f"no certificate has the serial, e-mail address or name '{text}'",
            "Give a serial, address or name that 'gateway cert list' shows.",
        )
    return found


def serials(records: Iterable[CertificateRecord]) -> str:
    """The serials, separated by commas, for a message."""
    return ", ".join(record.serial for record in records)


def _change(connection: Connection, record: CertificateRecord, expected: State, **values: Any) -> None:
    statement = (
        update(CERTIFICATES)
        .where(CERTIFICATES.c.id == record.id, CERTIFICATES.c.state == expected.value)
        .values(**values)
    )
    if connection.execute(statement).rowcount != 1:
        raise OperationError(
            f"certificate {record.serial} is not {expected} any more", f"Run 'gateway cert show {record.serial}'."
        )


def _record(row: dict[str, Any]) -> CertificateRecord:
    row.pop("authority_id")
    reason = row.pop("reason")
    return CertificateRecord(
        purpose=Purpose(row.pop("purpose")),
        state=State(row.pop("state")),
        reason=None if reason is None else RevocationReason(reason),
        **row,
    )
