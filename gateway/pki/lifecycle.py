"""Renewing, revoking, holding and releasing certificates. A revocation, hold or release makes a new list at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import join
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.commands import quoted
from gateway.errors import UsageError
from gateway.pki import crl, issue
from gateway.pki.authority import Authority, LockedAuthority, check_not_revoked
from gateway.pki.desk import Desk
from gateway.pki.keys import PrivateKey, PublicKey
from gateway.pki.registry import audit, certificates, revocations
from gateway.pki.registry.records import CertificateRecord, ListEntry, Purpose, RevocationReason, State
from gateway.x509.loading import certificate_in

DEFAULT_OVERLAP: Final = timedelta(days=14)
# The options of `gateway cert issue` for a person's certificate. --separate would make one for each use.
_OPTIONS: Final = MappingProxyType(
    {
        Purpose.CLIENT: (),
        Purpose.AUTH: ("--auth-only",),
        Purpose.SMIME: ("--smime-only",),
        Purpose.SMIME_SIGNING: ("--smime-only",),
        Purpose.SMIME_ENCRYPTION: ("--smime-only",),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """The properties of a renewal."""

    key: PrivateKey | PublicKey
    days: int | None = None
    overlap: timedelta = DEFAULT_OVERLAP
    p12_format: str | None = None
    escrow: str | None = None


def check(
    desk: Desk, authority: LockedAuthority, old: CertificateRecord, days: int | None, now: datetime
) -> issue.Order:
    """The order to sign, checked before the passphrase is asked for. Raises `UsageError` as `renew` does."""
    if old.state is not State.LIVE or old.supersede_at is not None:
        raise _not_renewable(old)
    order = issue.checked(authority, _order_of(old, days), now)
    issue.check_logins(desk, order, now)
    check_not_revoked(desk, authority.path)
    return order


def renew(
    desk: Desk, authority: Authority, old: CertificateRecord, renewal: Renewal, now: datetime, deliver: issue.Deliver
) -> issue.Issued:
    """A certificate with the old one's names and use; the old one goes on the list after `overlap`.

    Raises `UsageError` if the old one can't be renewed, `OperationError` if it was renewed or revoked meanwhile.
    """
    if renewal.overlap < timedelta(0):
        raise UsageError("the overlap cannot be negative", "Give a duration such as 14d.")
    order = check(desk, authority, old, renewal.days, now)
    certificate = issue.sign(authority, order, renewal.key, now)
    new = certificates.NewCertificate(
        certificate=certificate,
        common_name=old.common_name,
        purpose=old.purpose,
        email=old.email,
        upn=old.upn,
        device=old.device,
        p12_format=renewal.p12_format,
        renews=old.serial,
        escrow=issue.escrowed(renewal.escrow, renewal.key),
    )
    with desk.registry.writing() as connection:
        record = certificates.add_pending(connection, authority.record, new, now, desk.actor)
        audit.add(connection, issue.event(desk, record, "signed", now))
    pending = issue.Issued(record, certificate, authority.path)
    issued = issue.finish(desk, authority, pending, now, deliver, issue.Replaced(old, now + renewal.overlap))
    if not renewal.overlap:
        crl.renew(desk, authority, now)
    return issued


def _not_renewable(old: CertificateRecord) -> UsageError:
    status, remedy = str(old.state), f"Make a new one with {quoted(_making(old))}."
    if old.supersede_at is not None:
        status, remedy = "already renewed", "Renew the newer one; 'gateway cert list' shows its serial."
    elif old.state is State.HELD:
        remedy = f"Run 'gateway cert unhold {old.serial}' first."
    return UsageError(f"certificate {old.serial} of '{old.common_name}' is {status}", remedy)


def _making(old: CertificateRecord) -> str:
    """The command that makes a new certificate with the names and the use of this one."""
    if old.purpose is Purpose.OCSP:
        return join(("gateway", "ca", "ocsp", old.authority))
    signer = ("--ca", old.authority)
    if old.purpose is Purpose.SERVER:
        return join(("gateway", "cert", "server", *(str(host.value) for host in _order_of(old, None).hosts), *signer))
    words = ["gateway", "cert", "issue", old.email or "EMAIL", *signer, *_OPTIONS[old.purpose]]
    suffix = "" if old.device is None else f" ({old.device})"
    if (name := old.common_name.removesuffix(suffix)) != old.email:
        words += ["--name", name]
    for option, value in (("--device", old.device), ("--upn", old.upn)):
        words += [] if value is None else [option, value]
    return join(words)


def check_reason(reason: RevocationReason) -> None:
    """Refuse `certificate-hold`, which is not a revocation for good. Raises `UsageError`."""
    if reason is RevocationReason.CERTIFICATE_HOLD:
        raise UsageError(
            "certificate-hold is not a valid revocation reason",
            "Use 'gateway cert hold SERIAL', or give another --reason.",
        )


def revoke(
    desk: Desk,
    authority: Authority,
    records: Sequence[CertificateRecord],
    reason: RevocationReason,
    now: datetime,
    serials: Sequence[str] = (),
) -> None:
    """Put certificates of one authority on its list for good. Raises `UsageError`, `OperationError`.

    `serials` are of certificates that are not in the registry: those made before the authority was imported, and those
    of authorities below it.
    """
    check_reason(reason)
    _put(desk, authority, (records, serials), reason, now)


def hold(
    desk: Desk, authority: Authority, records: Sequence[CertificateRecord], now: datetime, serials: Sequence[str] = ()
) -> None:
    """Put certificates of one authority on its list until they are released. Raises `UsageError`, `OperationError`."""
    for record in records:
        if record.state is not State.LIVE:
            raise UsageError(
                f"certificate {record.serial} is {record.state}", "Leave it out: only a live certificate can be held."
            )
    _put(desk, authority, (records, serials), RevocationReason.CERTIFICATE_HOLD, now)


def release(
    desk: Desk, authority: Authority, records: Sequence[CertificateRecord], now: datetime, serials: Sequence[str] = ()
) -> None:
    """Take held certificates of one authority off its list. Raises `OperationError` if one isn't held."""
    change = revocations.Change(desk.actor, now)
    with desk.registry.writing() as connection:
        for record in records:
            revocations.release(connection, authority.record, record, change)
        for serial in serials:
            revocations.release(connection, authority.record, serial, change)
        crl.issue(connection, authority, desk.actor, now)
    crl.publish(desk, authority.name)


def _put(
    desk: Desk,
    authority: Authority,
    which: tuple[Sequence[CertificateRecord], Sequence[str]],
    reason: RevocationReason,
    now: datetime,
) -> None:
    records, serials = which
    at, change = now.replace(microsecond=0), revocations.Change(desk.actor, now)
    with desk.registry.writing() as connection:
        for known, serial in (*((record, record.serial) for record in records), *((None, each) for each in serials)):
            entry = ListEntry(serial=serial, revoked_at=at, reason=reason)
            revocations.put(connection, authority.record, known, entry, change)
        crl.issue(connection, authority, desk.actor, now)
    # The registry already has the list: if the file can't be written, OCSP and `gateway ca crl` still use it.
    crl.publish(desk, authority.name)


def _order_of(old: CertificateRecord, days: int | None) -> issue.Order:
    certificate = certificate_in(old.der)
    departments = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return issue.Order(
        email=old.email,
        common_name=old.common_name,
        purpose=old.purpose,
        upn=old.upn,
        department=str(departments[0].value) if departments else None,
        device=old.device,
        days=days,
        hosts=tuple(name for name in names if isinstance(name, x509.DNSName | x509.IPAddress)),
    )
