"""Issuing a certificate: it is checked, signed, registered as pending, written to files, and only then made live.

A desk that is killed in between leaves a pending certificate, which was not handed out. The next command for the same
name puts it on the revocation list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import Connection

from gateway.errors import UsageError
from gateway.pki import constraints, crl, keys, logins, pkcs8, profiles, uses
from gateway.pki.authority import Authority, LockedAuthority, check_not_revoked
from gateway.pki.desk import Desk
from gateway.pki.keys import PrivateKey, PublicKey
from gateway.pki.names import check_email, check_text, name_key
from gateway.pki.registry import audit, certificates, claims, revocations
from gateway.pki.registry.records import CertificateRecord, Purpose, RevocationReason, State
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES, NAME_CLAIMS

DEFAULT_DAYS: Final = 397


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A certificate to issue. `checked` makes an order that can be signed."""

    email: str | None
    common_name: str
    purpose: Purpose = Purpose.CLIENT
    upn: str | None = None
    department: str | None = None
    device: str | None = None
    days: int | None = None  # None: 397, or the days until the authority expires
    hosts: tuple[constraints.Host, ...] = ()
    p12_format: str | None = None
    run: str | None = None
    escrow: str | None = None  # the passphrase under which the registry keeps the private key

    @classmethod
    def of_person(cls, email: str, name: str | None = None, **options: object) -> Order:
        """An order for a person: the common name is the name, or the address, and the device in parentheses."""
        order = cls(email=email, common_name=name or email, **options)  # type: ignore[arg-type]
        if order.device is None:
            return order
        return replace(order, common_name=f"{order.common_name} ({check_text(order.device, 'device')})")


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed certificate with the authorities above it."""

    record: CertificateRecord
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A certificate that a renewal replaces."""

    record: CertificateRecord
    at: datetime  # from then on it is refused


Deliver = Callable[[Issued], None]


def checked(authority: LockedAuthority, order: Order, now: datetime) -> Order:
    """The order with its names normalised. Raises `UsageError` for what the authority can't sign."""
    clean = replace(
        order,
        email=None if order.email is None else check_email(order.email),
        common_name=check_text(order.common_name, "common name"),
        upn=None if order.upn is None else check_email(order.upn, "user principal name"),
        department=None if order.department is None else check_text(order.department, "department"),
    )
    for text, what in ((clean.common_name, "common name"), (clean.department, "department")):
        logins.check_own(text or "", what, email=clean.email, upn=clean.upn)
    uses.check(authority.path, clean.purpose, authority.record.parent)
    names = {"email": clean.email, "upn": clean.upn, "common_name": clean.common_name}
    constraints.check(authority.path, hosts=clean.hosts, **names)
    validity(authority, clean.days, now)
    return clean


def check(desk: Desk, authority: LockedAuthority, order: Order, now: datetime) -> Order:
    """The order, checked before the passphrase is asked for. Raises `UsageError`, `NameTakenError` as `issue` does."""
    return _check(desk, authority, order, now)[0]


def _check(
    desk: Desk, authority: LockedAuthority, order: Order, now: datetime
) -> tuple[Order, list[CertificateRecord]]:
    """The order as it can be signed, and the certificates that have to be abandoned for it."""
    clean = checked(authority, order, now)
    if clean.purpose is not Purpose.OCSP:  # a revoked authority still answers for the certificates that it signed
        check_not_revoked(desk, authority.path)
    with desk.registry.reading() as connection:
        left = _left(connection, authority, clean, now)
        serials = claims.holders(connection, authority.record.id, clean.common_name, clean.purpose, now)
    abandoned = {record.serial for record in left}
    if serials := [serial for serial in serials if serial not in abandoned]:
        raise claims.taken(clean.common_name, serials)
    if clean.run is None:  # an import has checked all of its rows at once
        check_logins(desk, clean, now)
    return clean, left


def check_logins(desk: Desk, order: Order, now: datetime) -> None:
    """Refuse names that are the login of another person with a certificate. Raises `UsageError`."""
    if order.email is None:
        return
    with desk.registry.reading() as connection:
        known = logins.registered(connection, now)
    known.check_name(order.common_name, email=order.email, upn=order.upn)
    known.check_upn(order.upn, email=order.email)


def validity(authority: LockedAuthority, days: int | None, now: datetime) -> profiles.Validity:
    """The dates of a certificate. Raises `UsageError` if the authority expires before `days` have passed."""
    left = (authority.record.not_after - now).days
    if left < 1:
        raise UsageError(f"the authority '{authority.name}' expires today or has expired", keys.MAKE_ANEW)
    wanted = min(DEFAULT_DAYS, left) if days is None else days
    if not 1 <= wanted <= left:
        cause = (
            f"a certificate cannot be valid for {wanted} days: the authority '{authority.name}' expires in {left} days"
        )
        raise UsageError(cause, f"Give 1 to {left} days.")
    found = profiles.Validity.of_days(now, wanted)
    return replace(found, not_before=max(found.not_before, authority.certificate.not_valid_before_utc))


def issue(
    desk: Desk, authority: Authority, order: Order, key: PrivateKey | PublicKey, now: datetime, deliver: Deliver
) -> Issued:
    """Sign, register and deliver. If `deliver` can't write the files, it raises, and no certificate becomes live.

    Raises `UsageError`, `NameTakenError`, `OperationError`.
    """
    clean, left = _check(desk, authority, order, now)
    if left:
        abandon(desk, authority, left, now)
    certificate = sign(authority, clean, key, now)
    new = certificates.NewCertificate(
        certificate=certificate,
        common_name=clean.common_name,
        purpose=clean.purpose,
        email=clean.email,
        upn=clean.upn,
        device=clean.device,
        p12_format=clean.p12_format,
        run=clean.run,
        escrow=escrowed(clean.escrow, key),
    )
    with desk.registry.writing() as connection:
        record = certificates.add_pending(connection, authority.record, new, now, desk.actor)
        audit.add(connection, event(desk, record, "signed", now))
    return finish(desk, authority, Issued(record, certificate, authority.path), now, deliver)


def finish(
    desk: Desk, authority: Authority, issued: Issued, now: datetime, deliver: Deliver, old: Replaced | None = None
) -> Issued:
    """Deliver a pending certificate and make it live. If that fails, revoke it and raise the error again."""
    try:
        deliver(issued)
        with desk.registry.writing() as connection:
            certificates.make_live(connection, issued.record)
            if old is not None:
                certificates.supersede(connection, old.record, issued.record, old.at)
            audit.add(connection, event(desk, issued.record, "issued", now))
    except BaseException:
        with desk.registry.reading() as connection:
            left = certificates.get(connection, authority.name, issued.record.serial)
        if left.state is State.PENDING:  # if Ctrl-C came after it was made live, its files are complete, and it stays
            abandon(desk, authority, [left], now)
        raise
    return replace(issued, record=replace(issued.record, state=State.LIVE))


def _left(connection: Connection, authority: LockedAuthority, order: Order, now: datetime) -> list[CertificateRecord]:
    """The pending certificates that a killed desk left for this order's name.

    Those of the same import count as left at once, because its folder is locked while it runs; others after
    `crl.PENDING_LEASE`.
    """
    pending = certificates.find(
        connection,
        AUTHORITIES.c.id == authority.record.id,
        CERTIFICATES.c.state == State.PENDING.value,
        CERTIFICATES.c.id == NAME_CLAIMS.c.certificate_id,
        NAME_CLAIMS.c.name_key == name_key(order.common_name),
    )
    return [
        record
        for record in {record.id: record for record in pending}.values()
        if record.created_at < now - crl.PENDING_LEASE or (order.run is not None and record.run == order.run)
    ]


def abandon(desk: Desk, authority: Authority, pending: list[CertificateRecord], now: datetime) -> None:
    """Revoke certificates that were signed but never handed out, and publish the list."""
    with desk.registry.writing() as connection:
        for record in pending:
            reason = RevocationReason.CESSATION_OF_OPERATION
            revocations.give_up(connection, record, reason, "abandoned", revocations.Change(desk.actor, now))
        crl.issue(connection, authority, desk.actor, now)
    crl.publish(desk, authority.name)


def event(desk: Desk, record: CertificateRecord, action: str, now: datetime) -> audit.Event:
    """An entry of the audit trail about a certificate, by this desk's actor."""
    return audit.about(record, action, desk.actor, now)


def sign(authority: Authority, order: Order, key: PrivateKey | PublicKey, now: datetime) -> x509.Certificate:
    """Sign the certificate for a checked order."""
    names = profiles.Names(
        common_name=order.common_name,
        organization=_organization(authority.certificate),
        department=order.department,
        email=order.email,
        upn=order.upn,
        hosts=order.hosts,
    )
    return profiles.leaf_certificate(
        purpose=order.purpose,
        names=names,
        public_key=public_of(key),
        validity=validity(authority, order.days, now),
        issuer=authority.issuer,
    )


def public_of(key: PrivateKey | PublicKey) -> PublicKey:
    """The public half of a key, or the key itself."""
    return key.public_key() if isinstance(key, PrivateKey) else key


def _organization(certificate: x509.Certificate) -> str | None:
    found = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else None


def escrowed(passphrase: str | None, key: PrivateKey | PublicKey) -> bytes | None:
    """The encrypted private key, for the registry to keep; None without a passphrase. Raises `UsageError`."""
    if passphrase is None:
        return None
    if not isinstance(key, PrivateKey):
        raise UsageError(
            "a key that was made elsewhere cannot be kept for recovery", "Don't combine --escrow with --csr."
        )
    return pkcs8.encrypt(key, passphrase)
