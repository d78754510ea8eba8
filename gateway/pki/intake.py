"""Importing an authority that was made elsewhere, together with the revocation list that it last published.

A certificate that the old list refuses stays refused: the import takes over the list's entries, and the new lists'
numbers continue from the old one's.
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
from gateway.pki.registry.records import ListEntry
from gateway.x509.authorities import is_marked_as_ca
from gateway.x509.fields import extensions_of, issuer_of, subject_bytes, subject_of
from gateway.x509.keys import fits, has_issued
from gateway.x509.loading import parse_certificates, parse_revocation_lists
from gateway.x509.serials import serial_text
from gateway.x509.unreadable import UNREADABLE

MAX_CRL_NUMBER: Final = 2**62  # the registry's numbers have 63 bits, and the next list's number is higher
# Extensions that a full list may have, critical or not (RFC 5280 section 5.2).
_HARMLESS: Final = (
    *(x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuerAlternativeName, x509.FreshestCRL),
    *(x509.CRLReason, x509.InvalidityDate),
)
# Extensions with which a list covers only a part, or other authorities too.
_PARTIAL: Final = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint, x509.CertificateIssuer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The files of an authority, and its settings at the desk."""

    name: str
    certificate_pem: bytes  # the authority's, and after it those above, in any order
    key_pem: bytes
    key_passphrase: str | None
    # The command's options for the certificate, the key and its passphrase.
    certificate_option: str = "--cert"
    key_option: str = "--key"
    opening_option: str = "--key-passphrase-file"
    making: str | None = None  # how to make a new authority instead; None: with `gateway ca init`
    crl: bytes | None = None  # PEM or DER
    crl_url: str | None = None
    ocsp_url: str | None = None
    issuer_url: str | None = None
    crl_lifetime: timedelta = authority.DEFAULT_CRL_LIFETIME


@dataclass(frozen=True, slots=True)
class _Checked:
    """The contents of the files, without the key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    revoked: tuple[ListEntry, ...]
    number: int  # of the list
    this_update: datetime | None
    key_file: Path


def check(desk: Desk, intake: Intake, now: datetime) -> _Checked:
    """Refuse all that is wrong except the key, before an admin types a passphrase.

    Raises `UsageError`, `OperationError`.
    """
    authority.check_settings(
        crl_url=intake.crl_url,
        ocsp_url=intake.ocsp_url,
        issuer_url=intake.issuer_url,
        crl_lifetime=intake.crl_lifetime,
    )
    certificate, *others = _certificates(intake.certificate_pem)
    _check_authority(certificate, now, _making(intake))
    chain = _chain(certificate, others)
    old = None if intake.crl is None else whole_list(intake.crl, certificate)
    return _Checked(
        certificate,
        chain,
        () if old is None else entries(old, _making(intake)),
        0 if old is None else number_of(old, _making(intake)),
        None if old is None else old.last_update_utc,
        authority.free_place(desk, check_authority_name(intake.name)),
    )


def without_list(name: str) -> str:
    """The warning about an authority that was imported without its newest list."""
    return (
        f"The revocation list of '{name}' is empty, because no earlier list was given. Certificates that the authority"
        f" revoked before are let in until you revoke them here: gateway cert revoke SERIAL --ca {name}"
    )


def take_in(desk: Desk, intake: Intake, passphrase: str, now: datetime) -> authority.Authority:
    """Import an authority; its key is encrypted again under `passphrase`. Raises `UsageError`, `OperationError`.

    `passphrase` also opens the key if `intake` has no passphrase.
    """
    checked = check(desk, intake, now)
    certificate = checked.certificate
    remedy = f"Give the key's present passphrase with {intake.opening_option}."
    secret = passphrase if intake.key_passphrase is None else intake.key_passphrase
    key = pkcs8.load(intake.key_pem, secret, "the key file", remedy=remedy)
    if not fits(key, certificate):
        raise _of_another(intake, key)
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


def _making(intake: Intake) -> str:
    """The remedy for an authority that can't be imported: how to make a new one."""
    return intake.making or f"Make a new authority with 'gateway ca init {intake.name}'."


def _of_another(intake: Intake, key: keys.PrivateKey) -> UsageError:
    """The error about a key that does not belong to the first certificate of the file."""
    certificates = _certificates(intake.certificate_pem)
    first = _name(certificates[0])
    for number, other in enumerate(certificates[1:], 2):
        if fits(key, other):
            return UsageError(
                f"the key belongs to certificate {number} of the {intake.certificate_option} file, {_name(other)}, not "
                f"to the first one, {first}",
                f"Put certificate {number} first in that file, and the authorities above it after it.",
            )
    return UsageError(
        f"the key does not belong to {first}, the first certificate of the {intake.certificate_option} file",
        f"Give the private key of {first} with {intake.key_option}.",
    )


def _name(certificate: x509.Certificate) -> str:
    return subject_of(certificate).rfc4514_string()


def _certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    try:
        found = parse_certificates(data, "the certificate file")
        for certificate in found:
            _ = extensions_of(certificate)  # raises for an unreadable extension now, and not later at signing
        _ = found[0].public_key()
    except ConfigError as error:
        raise UsageError(error.cause, error.remedy) from error
    except UNREADABLE as error:
        raise UsageError("the certificate file holds a broken certificate", "Export it again in PEM.") from error
    return found


def _check_authority(certificate: x509.Certificate, now: datetime, making: str) -> None:
    name = _name(certificate)
    if not _can_be_written(certificate):
        raise UsageError(
            f"the name of {name} has an old encoding (TeletexString), which cannot be written into certificates",
            f"{making} 'client_ca' accepts the old one.",
        )
    if certificate.not_valid_after_utc <= now:
        raise UsageError(f"the authority {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}", making)
    keys.check_signer(certificate, f"the authority {name}", making)
    keys.check(certificate.public_key(), f"the authority {name}")
    if not is_marked_as_ca(certificate):
        raise UsageError(
            f"the certificate of {name} is not an authority's", "Give one that has basicConstraints CA:TRUE."
        )
    try:
        usage = extensions_of(certificate).get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.key_cert_sign and usage.crl_sign):
        raise UsageError(
            f"the keyUsage of the authority {name} does not allow both certificates and revocation lists", making
        )


def _can_be_written(certificate: x509.Certificate) -> bool:
    """Whether `cryptography` writes the subject with the same bytes; verifiers compare issuers byte by byte."""
    try:
        return certificate.subject.public_bytes() == subject_bytes(certificate)
    except UNREADABLE:
        return False


def _chain(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The issuers, nearest first, up to the root; `others` may be in any order."""
    chain: list[x509.Certificate] = []
    while subject_of(certificate) != issuer_of(certificate):
        issuer = next((other for other in others if has_issued(other, certificate)), None)
        if issuer is None or issuer in chain:
            raise UsageError(
                f"the issuer of {_name(certificate)} is missing",
                "Append the certificates of all authorities above it to the certificate file.",
            )
        chain.append(issuer)
        certificate = issuer
    return tuple(chain)


def whole_list(data: bytes, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    """The only list in a file, if it is a full list that this authority signed. Raises `UsageError`."""
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
        raise UsageError(cause, "Give a file that has only the authority's newest full list.")
    if not is_ours:
        raise UsageError("the revocation list was not signed by this authority", "Give the authority's own list.")
    for extension in extensions:
        if isinstance(extension.value, _PARTIAL) or (extension.critical and not isinstance(extension.value, _HARMLESS)):
            raise UsageError(
                f"the revocation list has the extension {extension.oid.dotted_string}, so it is not a full list",
                "Give the full list. Certificates that are missing from the list would be let in again.",
            )
    return crl


def number_of(crl: x509.CertificateRevocationList, making: str = keys.MAKE_ANEW) -> int:
    """The list's number; 0 if it has none. Raises `UsageError` for one that the desk's lists can't continue from.

    `making`: the remedy, how to make a new authority.
    """
    try:
        number = extensions_of(crl).get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
    if not 0 <= number <= MAX_CRL_NUMBER:
        raise UsageError(
            f"the revocation list has the number {number}, which is negative or above {MAX_CRL_NUMBER}", making
        )
    return number


def entries(crl: x509.CertificateRevocationList, making: str = keys.MAKE_ANEW) -> tuple[ListEntry, ...]:
    """The list's entries, each serial once. Raises `UsageError` for a serial that the desk's lists can't name.

    `making`: the remedy, how to make a new authority.
    """
    if wrong := [entry.serial_number for entry in crl if not can_be_listed(entry.serial_number)]:
        raise UsageError(
            f"the revocation list names the serial {wrong[0]:X}, which is longer than 20 bytes or not positive",
            f"{making} A list of the gateway could not refuse this certificate.",
        )
    found: dict[str, ListEntry] = {}
    for entry in crl:
        serial = serial_text(entry.serial_number)
        if serial not in found or found[serial].is_hold:
            found[serial] = ListEntry(serial=serial, revoked_at=entry.revocation_date_utc, reason=reason_of(entry))
    return tuple(found.values())
