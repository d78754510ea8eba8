"""Taking in an authority that was made elsewhere, with the revocation list it has published so far.

Nobody who was refused may get in again because the list is written by another program now: what the old list says
is taken over, and numbers go on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.errors import ConfigError, UsageError
from gateway.pki import authority, constraints, keys, pkcs8
from gateway.pki.desk import Desk
from gateway.pki.files import make_folder, write_new_private
from gateway.pki.names import check_authority_name
from gateway.pki.reasons import reason_of
from gateway.pki.registry import authorities
from gateway.pki.registry.certificates import can_be_listed
from gateway.pki.registry.records import ListEntry, RevocationReason
from gateway.x509.authorities import is_marked_as_ca
from gateway.x509.fields import extensions_of, issuer_of, subject_bytes, subject_of
from gateway.x509.keys import fits, has_issued
from gateway.x509.loading import parse_certificates, parse_revocation_lists
from gateway.x509.serials import serial_text
from gateway.x509.unreadable import UNREADABLE

MAX_CRL_NUMBER: Final = 2**62  # the registry's numbers have 63 bits, and it goes on from here
# Extensions with which a list is a whole one all the same, critical or not (RFC 5280 section 5.2).
_HARMLESS: Final = (
    *(x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuerAlternativeName, x509.FreshestCRL),
    *(x509.CRLReason, x509.InvalidityDate),
)
# Extensions that make a list cover only a part, or other authorities too.
_PARTIAL: Final = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint, x509.CertificateIssuer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The files of an authority and what the desk shall do with it."""

    name: str
    certificate_pem: bytes  # the authority's, and after it those above, in any order
    key_pem: bytes
    key_passphrase: str | None
    opening_option: str = "--key-passphrase-file"  # of the command that asks for `key_passphrase`
    crl: bytes | None = None  # PEM or DER
    crl_url: str | None = None
    ocsp_url: str | None = None
    issuer_url: str | None = None
    crl_lifetime: timedelta = authority.DEFAULT_CRL_LIFETIME


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the files hold, all but the key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    revoked: tuple[ListEntry, ...]
    number: int  # of the list
    this_update: datetime | None
    key_file: Path


def check(desk: Desk, intake: Intake, now: datetime) -> _Checked:
    """All that can be refused before anybody types a passphrase. Raises `UsageError`, `OperationError`."""
    authority.check_settings(
        crl_url=intake.crl_url,
        ocsp_url=intake.ocsp_url,
        issuer_url=intake.issuer_url,
        crl_lifetime=intake.crl_lifetime,
    )
    certificate, *others = _certificates(intake.certificate_pem)
    _check_authority(certificate, now)
    chain = _chain(certificate, others)
    old = None if intake.crl is None else whole_list(intake.crl, certificate)
    return _Checked(
        certificate,
        chain,
        () if old is None else entries(old),
        0 if old is None else number_of(old),
        None if old is None else old.last_update_utc,
        authority.free_place(desk, check_authority_name(intake.name)),
    )


def without_list(name: str) -> str:
    """What an admin must know where an authority was imported without its newest list."""
    return (
        f"The list of '{name}' is empty, since no newest list of its own was given. Certificates that it revoked before"
        f" are let in until they are revoked here: gateway cert revoke SERIAL --ca {name}"
    )


def take_in(desk: Desk, intake: Intake, passphrase: str, now: datetime) -> authority.Authority:
    """Take in an authority; its key is encrypted anew under `passphrase`. Raises `UsageError`, `OperationError`.

    `passphrase` opens the key where `intake` has none of its own.
    """
    checked = check(desk, intake, now)
    certificate = checked.certificate
    remedy = f"Give the one that it has now with {intake.opening_option}."
    secret = passphrase if intake.key_passphrase is None else intake.key_passphrase
    key = pkcs8.load(intake.key_pem, secret, "the key file", remedy=remedy)
    if not fits(key, certificate):
        raise UsageError("the key does not belong to the certificate", "Give the two files of the same authority.")
    make_folder(checked.key_file.parent)
    write_new_private(checked.key_file, pkcs8.encrypt(key, pkcs8.check_passphrase(passphrase)))
    new = authorities.NewAuthority(
        name=intake.name,
        parent=None,
        certificate=certificate,
        chain=checked.chain,
        domain=constraints.domain((certificate, *checked.chain)),
        crl_url=intake.crl_url,
        ocsp_url=intake.ocsp_url,
        issuer_url=intake.issuer_url,
        crl_lifetime=intake.crl_lifetime,
        crl_number=checked.number,
        crl_this_update=checked.this_update,
    )
    record = authority.register(desk, new, now, "ca import", checked.revoked)
    return authority.Authority(record, certificate, checked.chain, key)


def _certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    try:
        found = parse_certificates(data, "the certificate file")
        for certificate in found:
            _ = extensions_of(certificate)  # what can't be read shows when it is asked for: here, and not at signing
        _ = found[0].public_key()
    except ConfigError as error:
        raise UsageError(error.cause, error.remedy) from error
    except UNREADABLE as error:
        raise UsageError("the certificate file holds a broken certificate", "Give it in PEM.") from error
    return found


def _check_authority(certificate: x509.Certificate, now: datetime) -> None:
    name = subject_of(certificate).rfc4514_string()
    if not _can_be_written(certificate):
        raise UsageError(
            f"the name of {name} has an old encoding (TeletexString), which cannot be written into what it signs",
            "Make a new authority with 'gateway ca init'. 'client_ca' takes the old one.",
        )
    if certificate.not_valid_after_utc <= now:
        raise UsageError(
            f"the authority {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "Make a new one."
        )
    keys.check_signer(certificate, f"the authority {name}")
    keys.check(certificate.public_key(), f"the authority {name}")
    if not is_marked_as_ca(certificate):
        raise UsageError(f"{name} is not an authority's certificate", "Give one with basicConstraints CA:TRUE.")
    try:
        usage = extensions_of(certificate).get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.key_cert_sign and usage.crl_sign):
        raise UsageError(
            f"the authority {name} may not sign certificates and revocation lists both (keyUsage)",
            "Make a new one with 'gateway ca init'.",
        )


def _can_be_written(certificate: x509.Certificate) -> bool:
    """Whether `cryptography` writes the subject as it is; issuers are compared byte by byte."""
    try:
        return certificate.subject.public_bytes() == subject_bytes(certificate)
    except UNREADABLE:
        return False


def _chain(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The issuers from the nearest to the root, out of certificates in any order."""
    chain: list[x509.Certificate] = []
    while subject_of(certificate) != issuer_of(certificate):
        issuer = next((other for other in others if has_issued(other, certificate)), None)
        if issuer is None or issuer in chain:
            raise UsageError(
                f"the issuer of {subject_of(certificate).rfc4514_string()} is missing",
                "Put the certificates of all authorities above it into the certificate file, after its own.",
            )
        chain.append(issuer)
        certificate = issuer
    return tuple(chain)


def whole_list(data: bytes, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    """The one list in a file, if it is a whole one that this authority signed. Raises `UsageError`."""
    try:
        crl, *others = parse_revocation_lists(data, "the file of the revocation list")
        is_ours = crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        extensions = [*extensions_of(crl), *(extension for entry in crl for extension in entry.extensions)]
    except ConfigError as error:
        raise UsageError(error.cause, error.remedy) from error
    except UNREADABLE as error:
        raise UsageError("the revocation list cannot be read", "Give it in PEM or DER.") from error
    if others:
        cause = f"the file of the revocation list holds {1 + len(others)} lists"
        raise UsageError(cause, "Give the authority's newest full list in a file of its own.")
    if not is_ours:
        raise UsageError("the revocation list is not this authority's", "Give the list that it has signed.")
    for extension in extensions:
        if isinstance(extension.value, _PARTIAL) or (extension.critical and not isinstance(extension.value, _HARMLESS)):
            raise UsageError(
                f"the revocation list has the extension {extension.oid.dotted_string}, so it is not a whole one",
                "Give the full list: whoever is missing on it would get in again.",
            )
    return crl


def number_of(crl: x509.CertificateRevocationList) -> int:
    """The list's number; 0 where it has none. Raises `UsageError` for one that no list of ours could follow."""
    try:
        number = extensions_of(crl).get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
    if not 0 <= number <= MAX_CRL_NUMBER:
        raise UsageError(
            f"the revocation list has the number {number}, which is negative or above {MAX_CRL_NUMBER}",
            "No list of ours could follow it: make a new one with 'gateway ca init'.",
        )
    return number


def entries(crl: x509.CertificateRevocationList) -> tuple[ListEntry, ...]:
    """What the list says, each serial once. Raises `UsageError` for a serial that no list of ours could name."""
    if wrong := [entry.serial_number for entry in crl if not can_be_listed(entry.serial_number)]:
        raise UsageError(
            f"the revocation list names the serial {wrong[0]:X}, which is longer than 20 bytes or not positive",
            "No list of ours could name it, and its holder would get in: make a new one with 'gateway ca init'.",
        )
    found: dict[str, ListEntry] = {}
    for entry in crl:
        serial = serial_text(entry.serial_number)
        if serial not in found or found[serial].reason is RevocationReason.CERTIFICATE_HOLD:
            found[serial] = ListEntry(serial=serial, revoked_at=entry.revocation_date_utc, reason=reason_of(entry))
    return tuple(found.values())
