"""Revocation lists (RFC 5280 section 5): an authority's numbers strictly increase, and a newer list is never replaced.

A list is signed and kept in the registry in the same transaction that changes its entries, under the authority's lock.
The file is a copy of the registry's newest list. Lists are dated a few minutes back: otherwise a gateway whose clock is
slow would read a fresh list as one that begins in the future, and refuse every client.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection

from gateway.commands import quoted
from gateway.errors import ConfigError, OperationError, UsageError
from gateway.pki.authority import Authority
from gateway.pki.desk import Desk
from gateway.pki.files import read, write_public
from gateway.pki.keys import signature_hash
from gateway.pki.profiles import BACKDATE, authority_key_identifier
from gateway.pki.reasons import FLAGS
from gateway.pki.registry import audit, authorities, certificates, revocations
from gateway.pki.registry.records import (
    AuthorityRecord,
    CertificateRecord,
    ListEntry,
    RevocationReason,
    State,
)
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES
from gateway.x509.loading import certificate_in, parse_revocation_lists
from gateway.x509.serials import serial_text
from gateway.x509.unreadable import UNREADABLE

# A list is renewed in the last quarter of its life: with 30 days, there is a week to notice that renewal fails. The
# gateway warns in the last fifth, so a warning means that the renewal is overdue.
RENEW_IN_LAST: Final = 4
# Signing and writing the files take less than a second; a certificate that is pending for longer was left by a crash.
PENDING_LEASE: Final = timedelta(minutes=15)


def build(
    authority: Authority, entries: Iterable[ListEntry], *, number: int, this_update: datetime, lifetime: timedelta
) -> x509.CertificateRevocationList:
    """Sign a list with these entries. It is valid from `this_update` for `lifetime`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(this_update)
        .next_update(this_update + lifetime)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority_key_identifier(authority.certificate), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(_line(entry))
    return builder.sign(authority.key, signature_hash(authority.key))


def renew(desk: Desk, authority: Authority, now: datetime) -> x509.CertificateRevocationList:
    """Make a new list, keep it in the registry and publish it. Raises `OperationError`."""
    with desk.registry.writing() as connection:
        crl = issue(connection, authority, desk.actor, now)
    publish(desk, authority.name)
    return crl


def renew_due(desk: Desk, authority: Authority, now: datetime) -> x509.CertificateRevocationList | None:
    """As `renew`, if it is still due once the authority is locked, so that only one of several processes renews it."""
    with desk.registry.writing() as connection:
        if not is_due(connection, authorities.lock(connection, authority.name), now):
            return None
        crl = issue(connection, authority, desk.actor, now)
    publish(desk, authority.name)
    return crl


def issue(connection: Connection, authority: Authority, actor: str, now: datetime) -> x509.CertificateRevocationList:
    """Make a new list within the caller's transaction. Raises `OperationError`.

    First it revokes what is due: certificates whose renewal has taken over, and pending ones that a crash left. The
    audit trail names `actor` for these.
    """
    record = authorities.lock(connection, authority.name)
    _sweep(connection, record, actor, now)
    this_update = _next_moment(record, now)
    crl = build(
        authority,
        entries_of(connection, record, now),
        number=record.crl_number + 1,
        this_update=this_update,
        lifetime=record.crl_lifetime + BACKDATE,
    )
    authorities.keep_crl(connection, record.name, crl, record.crl_number + 1)
    return crl


def publish(desk: Desk, name: str) -> None:
    """Write the registry's newest list to its file, under the lock, so that no older list overwrites a newer one.

    Raises `OperationError` and keeps the file if its list is newer, or names a certificate that the registry doesn't
    know to be revoked. The registry was then restored from a backup, and without that list the certificates that were
    revoked since would be let in again.
    """
    file = desk.file(name, "crl")
    with desk.registry.writing() as connection:
        record = authorities.lock(connection, name)
        if (crl := _checked(connection, record, file)) is not None:
            write_public(file, crl.public_bytes(Encoding.PEM))


def check_published(desk: Desk, name: str) -> None:
    """Raises `OperationError` as `publish` does, without writing: the registry was restored from an older backup."""
    with desk.registry.reading() as connection:
        _checked(connection, authorities.get(connection, name), desk.file(name, "crl"))


def _checked(connection: Connection, record: AuthorityRecord, file: Path) -> x509.CertificateRevocationList | None:
    """The registry's newest list, which may replace the one in the file; None if there is none yet."""
    if record.crl_der is None:
        return None
    (crl,) = parse_revocation_lists(record.crl_der, "the registry")
    check_not_newer(file, number_in(file), record.crl_number)
    _check_none_is_lost(connection, record, file, crl)
    return crl


def number_in(file: Path) -> int:
    """The number of the list in the file; -1 if no list can be read from it."""
    try:
        found, *_ = parse_revocation_lists(read(file), str(file))
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (UsageError, ConfigError, *UNREADABLE):
        return -1


def check_not_newer(file: Path, number: int, newest: int) -> None:
    """Raises `OperationError` if the file's list (`number`) is newer than the registry's (`newest`)."""
    if number > newest:
        raise _restored(file, f"the list has number {number}, the registry's newest is {newest}")


def _check_none_is_lost(
    connection: Connection, record: AuthorityRecord, file: Path, new: x509.CertificateRevocationList
) -> None:
    """Refuse to replace a list that names certificates that the registry doesn't know to be revoked.

    After a restore from a backup, the registry's numbers can have passed the list's, so the number doesn't tell.
    """
    named = {entry.serial_number for entry in new}
    gone = {serial: at for serial, at in _named_in(file, certificate_in(record.certificate_der)) if serial not in named}
    if not gone:
        return
    states = certificates.states(connection, record)
    released = audit.last_releases(connection, record.name)
    for number, revoked_at in gone.items():
        serial = serial_text(number)
        has_ended = states.get(serial) in (State.REVOKED, State.HELD)  # expired, and left out since (`entries_of`)
        if not has_ended and (serial not in released or released[serial] < revoked_at):
            raise _restored(file, f"the list names {serial}, and the registry doesn't know that it was revoked")


def _named_in(file: Path, issuer: x509.Certificate) -> list[tuple[int, datetime]]:
    """The serials on the list in the file, with their dates; empty if the authority didn't sign it."""
    try:
        found, *_ = parse_revocation_lists(read(file), str(file))
        if not found.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            return []
        return [(entry.serial_number, entry.revocation_date_utc) for entry in found]
    except (UsageError, ConfigError, *UNREADABLE):
        return []


def _restored(file: Path, cause: str) -> OperationError:
    command = quoted(f"gateway ca crl {file.stem} --from {quote(str(file))}")
    return OperationError(
        f"{file}: {cause}: the registry was restored from an older backup",
        f"Run {command} to take over the revocations on that list.",
    )


def entries_of(connection: Connection, authority: AuthorityRecord, now: datetime) -> list[ListEntry]:
    """The entries of the next list: held and revoked certificates.

    A revoked certificate stays on until one list after its expiry has named it (RFC 5280 section 3.3).
    """
    shown_until = authority.crl_this_update or now
    own = certificates.find(
        connection,
        AUTHORITIES.c.id == authority.id,
        CERTIFICATES.c.state.in_((State.HELD.value, State.REVOKED.value)),
        CERTIFICATES.c.not_after >= min(shown_until, now),
    )
    listed = [_entry(record) for record in own]
    known = {entry.serial for entry in listed}
    return listed + [entry for entry in authorities.foreign(connection, authority) if entry.serial not in known]


def due(connection: Connection, now: datetime) -> list[str]:
    """The names of the authorities whose list must be renewed."""
    return [record.name for record in authorities.all_of(connection) if is_due(connection, record, now)]


def is_due(connection: Connection, record: AuthorityRecord, now: datetime) -> bool:
    """Whether the list must be renewed: it is in its last quarter, or the overlap of a renewed certificate is over."""
    return record.not_after > now and (is_running_out(record, now) or bool(_superseded(connection, record, now)))


def is_running_out(record: AuthorityRecord, now: datetime) -> bool:
    """Whether the authority's list is in the last quarter of its life, or does not exist."""
    if record.crl_next_update is None:
        return True
    return now >= record.crl_next_update - record.crl_lifetime / RENEW_IN_LAST


def _superseded(connection: Connection, authority: AuthorityRecord, now: datetime) -> list[CertificateRecord]:
    return certificates.find(
        connection,
        AUTHORITIES.c.id == authority.id,
        CERTIFICATES.c.state == State.LIVE.value,
        CERTIFICATES.c.supersede_at <= now,
        CERTIFICATES.c.not_after >= now,
    )


def _left_behind(connection: Connection, authority: AuthorityRecord, now: datetime) -> list[CertificateRecord]:
    return certificates.find(
        connection,
        AUTHORITIES.c.id == authority.id,
        CERTIFICATES.c.state == State.PENDING.value,
        CERTIFICATES.c.created_at < now - PENDING_LEASE,
    )


def _sweep(connection: Connection, authority: AuthorityRecord, actor: str, now: datetime) -> None:
    for action, reason, records in (
        ("superseded", RevocationReason.SUPERSEDED, _superseded(connection, authority, now)),
        ("abandoned", RevocationReason.CESSATION_OF_OPERATION, _left_behind(connection, authority, now)),
    ):
        for record in records:
            revocations.give_up(connection, record, reason, action, revocations.Change(actor, now))


def _next_moment(record: AuthorityRecord, now: datetime) -> datetime:
    """ThisUpdate of the next list: later than the last list's, unless that one is dated in this second.

    Then both have the same date, and only the number says which is newer. openssl, for one, doesn't date lists back.
    """
    last, present = record.crl_this_update, now.replace(microsecond=0)
    if last is None:
        return present - BACKDATE
    if last > present:
        raise OperationError(
            f"the newest list of '{record.name}' is dated {last:%Y-%m-%d %H:%M:%S} UTC, in the future",
            "Set the clock of this machine right, or try again in a minute.",
        )
    return max(present - BACKDATE, min(last + timedelta(seconds=1), present))


def _entry(record: CertificateRecord) -> ListEntry:
    if record.revoked_at is None or record.reason is None:  # pragma: no cover - the table's CHECK forbids it
        raise OperationError(f"certificate {record.serial} is revoked without date and reason")
    return ListEntry(serial=record.serial, revoked_at=record.revoked_at, reason=record.reason)


def _line(entry: ListEntry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(entry.serial, 16)).revocation_date(entry.revoked_at)
    if entry.reason is not RevocationReason.UNSPECIFIED:  # for this reason, section 5.3.1 omits the extension
        builder = builder.add_extension(x509.CRLReason(FLAGS[entry.reason]), critical=False)
    return builder.build()
