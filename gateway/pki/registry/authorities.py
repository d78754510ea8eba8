"""Authorities in the registry. A row is locked while a revocation list is made, so lists are published in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.commands import quoted
from gateway.errors import OperationError, UsageError
from gateway.pki.registry import notifications
from gateway.pki.registry.records import AuthorityRecord, ListEntry, RevocationReason
from gateway.pki.registry.tables import AUTHORITIES, FOREIGN_REVOCATIONS
from gateway.x509.loading import certificate_in, parse_certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """An authority before it is in the registry."""

    name: str
    parent: str | None
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    domain: str | None
    crl_url: str | None
    ocsp_url: str | None
    issuer_url: str | None
    crl_lifetime: timedelta
    crl_number: int = 0
    crl_this_update: datetime | None = None


def add(connection: Connection, new: NewAuthority, now: datetime, actor: str) -> AuthorityRecord:
    """Register an authority. Raises `OperationError` if its name is taken."""
    values = {
        "name": new.name,
        "parent": new.parent,
        "certificate_der": new.certificate.public_bytes(Encoding.DER),
        "chain_pem": "".join(issuer.public_bytes(Encoding.PEM).decode() for issuer in new.chain),
        "domain": new.domain,
        "not_after": new.certificate.not_valid_after_utc,
        "crl_url": new.crl_url,
        "ocsp_url": new.ocsp_url,
        "issuer_url": new.issuer_url,
        "crl_lifetime_seconds": int(new.crl_lifetime.total_seconds()),
        "crl_number": new.crl_number,
        "crl_this_update": new.crl_this_update,
        "created_at": now,
        "created_by": actor,
    }
    try:
        connection.execute(insert(AUTHORITIES).values(values))
    except IntegrityError as error:
        raise OperationError(f"the authority '{new.name}' already exists", "Choose another name.") from error
    return get(connection, new.name)


def find(connection: Connection, name: str) -> AuthorityRecord | None:
    """The authority of that name; None if there is none."""
    return _one(connection, select(AUTHORITIES).where(AUTHORITIES.c.name == name))


def get(connection: Connection, name: str) -> AuthorityRecord:
    """The authority of that name. Raises `UsageError`."""
    return _known(connection, find(connection, name), name)


def lock(connection: Connection, name: str) -> AuthorityRecord:
    """The authority, locked until this transaction ends. Raises `UsageError`."""
    # In SQLite, the transaction has locked the whole file at its start.
    query = select(AUTHORITIES).where(AUTHORITIES.c.name == name).with_for_update()
    return _known(connection, _one(connection, query), name)


def all_of(connection: Connection) -> list[AuthorityRecord]:
    """Every authority, by name."""
    rows = connection.execute(select(AUTHORITIES).order_by(AUTHORITIES.c.name)).mappings()
    return [_record(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Listed:
    """The parts of a record that every OCSP request needs. They are small, while a list may have megabytes."""

    id: int
    name: str
    certificate_der: bytes = field(repr=False)
    crl_number: int  # this and the next field change whenever a certificate's state changes
    crl_this_update: datetime | None


def listed(connection: Connection) -> list[Listed]:
    """Every authority in short, by name."""
    table = AUTHORITIES.c
    columns = (table.id, table.name, table.certificate_der, table.crl_number, table.crl_this_update)
    return [Listed(*row) for row in connection.execute(select(*columns).order_by(table.name))]


def has_below(connection: Connection, name: str, serial: int) -> bool:
    """Whether the authority has signed another one's certificate with this serial."""
    query = select(AUTHORITIES.c.certificate_der).where(AUTHORITIES.c.parent == name)
    found = connection.execute(query).scalars()
    return any(certificate_in(der).serial_number == serial for der in found)


def below(connection: Connection, name: str) -> dict[str, x509.Certificate]:
    """The authorities that this one has signed, by name."""
    columns = AUTHORITIES.c
    query = select(columns.name, columns.certificate_der).where(columns.parent == name).order_by(columns.name)
    return {below: certificate_in(der) for below, der in connection.execute(query)}


def keep_crl(connection: Connection, name: str, crl: x509.CertificateRevocationList, number: int) -> None:
    """Store a new revocation list as the newest, and notify other machines. The caller holds the lock."""
    connection.execute(
        update(AUTHORITIES)
        .where(AUTHORITIES.c.name == name)
        .values(
            crl_number=number,
            crl_this_update=crl.last_update_utc,
            crl_next_update=crl.next_update_utc,
            crl_der=crl.public_bytes(Encoding.DER),
        )
    )
    notifications.tell(connection)


def continue_from(connection: Connection, authority: AuthorityRecord, number: int, this_update: datetime) -> None:
    """Make the next list's number and date higher than these, if they are not already. The caller holds the lock."""
    last = authority.crl_this_update
    connection.execute(
        update(AUTHORITIES)
        .where(AUTHORITIES.c.id == authority.id)
        .values(
            crl_number=max(number, authority.crl_number),
            crl_this_update=this_update if last is None else max(this_update, last),
        )
    )


def add_foreign(connection: Connection, authority: AuthorityRecord, entry: ListEntry) -> None:
    """Put a serial that is not in the registry on the list. A serial on hold can be revoked.

    Raises `OperationError` if it is already on the list.
    """
    values = {"serial": entry.serial, "revoked_at": entry.revoked_at, "reason": entry.reason.value}
    try:
        if not entry.is_hold:
            take_off_hold(connection, authority, entry.serial)
        connection.execute(insert(FOREIGN_REVOCATIONS).values(authority_id=authority.id, **values))
    except IntegrityError as error:
        raise OperationError(f"{entry.serial} is already on the list", "Leave it out.") from error


def take_off_hold(connection: Connection, authority: AuthorityRecord, serial: str) -> bool:
    """Take a serial that is not in the registry off the list; False if it wasn't on hold."""
    table = FOREIGN_REVOCATIONS
    conditions = (
        table.c.authority_id == authority.id,
        table.c.serial == serial,
        table.c.reason == RevocationReason.CERTIFICATE_HOLD.value,
    )
    return connection.execute(delete(table).where(*conditions)).rowcount == 1


def foreign(connection: Connection, authority: AuthorityRecord) -> list[ListEntry]:
    """The entries for revoked or held serials that are not in the registry, oldest first."""
    table = FOREIGN_REVOCATIONS
    query = select(table).where(table.c.authority_id == authority.id).order_by(table.c.revoked_at, table.c.serial)
    return [_entry(row) for row in connection.execute(query).mappings()]


def foreign_entry(connection: Connection, authority_id: int, serial: str) -> ListEntry | None:
    """The same for one serial; None if it is not on the list."""
    table = FOREIGN_REVOCATIONS
    query = select(table).where(table.c.authority_id == authority_id, table.c.serial == serial)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _entry(row)


def _entry(row: RowMapping) -> ListEntry:
    return ListEntry(serial=row["serial"], revoked_at=row["revoked_at"], reason=RevocationReason(row["reason"]))


def _known(connection: Connection, record: AuthorityRecord | None, name: str) -> AuthorityRecord:
    if record is None:
        names = ", ".join(other.name for other in all_of(connection))
        remedy = f"Give one of: {names}." if names else f"Make one with {quoted(f'gateway ca init {quote(name)}')}."
        raise UsageError(f"there is no authority '{name}'", remedy)
    return record


def _one(connection: Connection, query: Select[Any]) -> AuthorityRecord | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def _record(row: RowMapping) -> AuthorityRecord:
    values: dict[str, Any] = dict(row)
    chain_pem = values.pop("chain_pem")
    chain = parse_certificates(chain_pem.encode(), "the registry") if chain_pem else ()
    return AuthorityRecord(
        chain_der=tuple(issuer.public_bytes(Encoding.DER) for issuer in chain),
        crl_lifetime=timedelta(seconds=values.pop("crl_lifetime_seconds")),
        **values,
    )
