"""Certificates in the formats that other programs read, and descriptions of certificates for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from gateway.pki import uses
from gateway.pki.desk import Desk
from gateway.pki.keys import describe
from gateway.pki.registry.records import AuthorityRecord, CertificateRecord, ListEntry
from gateway.pki.registry.search import ListedOnly
from gateway.pki.taken_back import taken_back
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.loading import certificate_in
from gateway.x509.serials import serial_text


def certificates(path_der: Sequence[bytes], format_: str) -> bytes:
    """A certificate and those above it: `pem` and `der` have only the first, `chain` and `p7b` all of them."""
    path = [certificate_in(der) for der in path_der]
    match format_:
        case "der":
            return path[0].public_bytes(Encoding.DER)
        case "p7b":
            return serialize_certificates(path, Encoding.DER)
        case "chain":
            return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in path)
        case _:
            return path[0].public_bytes(Encoding.PEM)


def describe_authority(desk: Desk, record: AuthorityRecord, now: datetime) -> dict[str, Any]:
    """An authority's data for `ca show`. `on_list_of`: the authority whose list names it, or one above it."""
    certificate = certificate_in(record.certificate_der)
    path = (certificate, *map(certificate_in, record.chain_der))
    with desk.registry.reading() as connection:
        found = taken_back(connection, path)
    entry = None if found is None else found.entry
    return {
        "name": record.name,
        "state": _state(entry) if record.not_after >= now else "expired",
        "revoked_at": None if entry is None else entry.revoked_at,
        "reason": None if entry is None else entry.reason.value,
        "revoked_ca": None if found is None else found.subject,
        "on_list_of": None if found is None else found.issuer,
        "serial": serial_text(certificate.serial_number),
        "subject": subject_of(certificate).rfc4514_string(),
        "issuer": issuer_of(certificate).rfc4514_string(),
        "parent": record.parent,
        "domain": record.domain,
        "signs": uses.described(certificate),
        "key": describe(certificate.public_key()),
        "fingerprint_sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "crl_number": record.crl_number,
        "crl_this_update": record.crl_this_update,
        "crl_next_update": record.crl_next_update,
        "crl_url": record.crl_url,
        "ocsp_url": record.ocsp_url,
        "issuer_url": record.issuer_url,
        "certificate_file": str(desk.file(record.name, "crt")),
        "crl_file": str(desk.file(record.name, "crl")),
        "key_file": str(desk.file(record.name, "key")),
        "created_at": record.created_at,
        "created_by": record.created_by,
    }


def describe_certificate(record: CertificateRecord, now: datetime) -> dict[str, Any]:
    """A certificate's data for `cert show` and `cert list`."""
    certificate = certificate_in(record.der)
    return {
        "serial": record.serial,
        "state": record.status(now),
        "common_name": record.common_name,
        "email": record.email,
        "upn": record.upn,
        "device": record.device,
        "purpose": record.purpose.value,
        "authority": record.authority,
        "subject": record.subject,
        "key": describe(certificate.public_key()),
        "fingerprint_sha256": record.fingerprint,
        "not_before": record.not_before,
        "not_after": record.not_after,
        "p12_format": record.p12_format,
        "created_at": record.created_at,
        "created_by": record.created_by,
        "renews": record.renews,
        "supersede_at": record.supersede_at,
        "revoked_at": record.revoked_at,
        "reason": None if record.reason is None else record.reason.value,
        "is_key_kept": record.escrow is not None,
        "is_in_registry": True,
    }


# Unknown for a certificate that is only on a revocation list, which has nothing but its serial, date and reason.
_UNKNOWN: Final = (
    *("common_name", "email", "upn", "device", "purpose", "subject", "key", "fingerprint_sha256", "not_before"),
    *("not_after", "p12_format", "created_at", "created_by", "renews", "supersede_at"),
)


def describe_entry(found: ListedOnly) -> dict[str, Any]:
    """The same for a serial that is on the list but not in the registry: of an authority, or made elsewhere."""
    document = dict.fromkeys(_UNKNOWN) | {
        "serial": found.entry.serial,
        "state": _state(found.entry),
        "authority": found.authority,
        "revoked_at": found.entry.revoked_at,
        "reason": found.entry.reason.value,
        "is_key_kept": False,
        "is_in_registry": False,
    }
    if found.below_der is None:
        return document
    certificate = certificate_in(found.below_der)
    return document | {
        "purpose": "authority",
        "subject": subject_of(certificate).rfc4514_string(),
        "key": describe(certificate.public_key()),
        "fingerprint_sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
    }


def _state(entry: ListEntry | None) -> str:
    if entry is None:
        return "valid"
    return "held" if entry.is_hold else "revoked"
