"""An OCSP responder as a function (RFC 6960), without sockets: it takes a request's bytes and the registry, and returns
the response's bytes.

Answers are signed by a delegated certificate, so the authority's own key stays locked. Only a serial that was issued
and handed out is good; a serial that the authority never issued is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.pki.keys import PrivateKey, signature_hash, spki_bits
from gateway.pki.profiles import BACKDATE
from gateway.pki.reasons import FLAGS
from gateway.pki.registry import authorities, certificates
from gateway.pki.registry.engine import Registry
from gateway.pki.registry.records import CertificateRecord, RevocationReason, State
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES
from gateway.x509.loading import certificate_in
from gateway.x509.serials import serial_text
from gateway.x509.unreadable import UNREADABLE

# A request for one certificate is about 120 bytes, with a nonce and a signature below 4 KiB.
MAX_REQUEST_BYTES: Final = 8 * 1024
MAX_NONCE_BYTES: Final = 128  # RFC 9654 section 2.1
# How long clients may keep an answer: within an hour, they all learn of a revocation.
LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Signer:
    """The delegated certificate of an authority, with its key."""

    authority: str
    issuer: x509.Certificate
    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)


Signers = Callable[[str], Signer | None]  # by the authority's name; None if it has no signer


@dataclass(frozen=True, slots=True)
class Response:
    """A response, and until when a cache may keep it for other clients that ask the same."""

    der: bytes = field(repr=False)
    this_update: datetime | None = None
    next_update: datetime | None = None  # None: it must not be kept


def respond(request_der: bytes, registry: Registry, signers: Signers, now: datetime) -> Response:
    """The response to a DER request. It never raises for a client's bytes."""
    if len(request_der) > MAX_REQUEST_BYTES:
        return _failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    try:
        request = ocsp.load_der_ocsp_request(request_der)
        nonce = _nonce(request)
        asked = (request.issuer_name_hash, request.issuer_key_hash, _HASHES[request.hash_algorithm.name])
        serial = request.serial_number
    except (*UNREADABLE, KeyError, NotImplementedError):
        return _failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    try:
        with registry.reading() as connection:
            record = _issuer(connection, *asked)
            signer = None if record is None else signers(record.name)
            if record is None or signer is None:
                return _failure(ocsp.OCSPResponseStatus.UNAUTHORIZED)
            if not signer.certificate.not_valid_before_utc <= now <= signer.certificate.not_valid_after_utc:
                return _failure(ocsp.OCSPResponseStatus.TRY_LATER)
            status = _status(connection, record, serial, now)
    except GatewayError:
        return _failure(ocsp.OCSPResponseStatus.TRY_LATER)
    return _answer(request, status, signer, nonce, now)


@dataclass(frozen=True, slots=True)
class _Status:
    status: ocsp.OCSPCertStatus
    at: datetime | None = None
    reason: x509.ReasonFlags | None = None
    until: datetime | None = None  # when it will change, if that is known


def _status(connection: Connection, authority: authorities.Listed, serial: int, now: datetime) -> _Status:
    text = serial_text(serial)
    found = certificates.find(connection, AUTHORITIES.c.id == authority.id, CERTIFICATES.c.serial == text)
    if found and found[0].state is not State.PENDING:
        return _of_record(found[0], now)
    if (entry := authorities.foreign_entry(connection, authority.id, text)) is not None:
        return _revoked(entry.revoked_at, entry.reason)
    if authorities.has_below(connection, authority.name, serial):
        return _Status(ocsp.OCSPCertStatus.GOOD)
    return _Status(ocsp.OCSPCertStatus.UNKNOWN)


def _of_record(record: CertificateRecord, now: datetime) -> _Status:
    if record.revoked_at is not None and record.reason is not None:
        return _revoked(record.revoked_at, record.reason)
    if record.supersede_at is not None and record.supersede_at <= now:
        return _revoked(record.supersede_at, RevocationReason.SUPERSEDED)
    return _Status(ocsp.OCSPCertStatus.GOOD, until=record.supersede_at)


def _revoked(at: datetime, reason: RevocationReason) -> _Status:
    flag = None if reason is RevocationReason.UNSPECIFIED else FLAGS[reason]
    return _Status(ocsp.OCSPCertStatus.REVOKED, at, flag)


def _answer(
    request: ocsp.OCSPRequest, status: _Status, signer: Signer, nonce: x509.OCSPNonce | None, now: datetime
) -> Response:
    this_update = now.replace(microsecond=0) - BACKDATE  # for a client whose clock is slow, as with lists
    next_update = now.replace(microsecond=0) + LIFETIME
    if status.until is not None:
        next_update = min(next_update, status.until)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        request.issuer_name_hash,
        request.issuer_key_hash,
        request.serial_number,
        request.hash_algorithm,
        status.status,
        this_update,
        next_update,
        status.at,
        status.reason,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    builder = builder.certificates([signer.certificate])
    if nonce is not None:
        builder = builder.add_extension(nonce, critical=False)
    der = builder.sign(signer.key, signature_hash(signer.key)).public_bytes(Encoding.DER)
    # A serial that is unknown now may be issued in a moment; a nonce is only for one client.
    is_for_all = nonce is None and status.status is not ocsp.OCSPCertStatus.UNKNOWN
    return Response(der, this_update, next_update if is_for_all else None)


def _failure(status: ocsp.OCSPResponseStatus) -> Response:
    return Response(ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER))


def try_later() -> Response:
    """The response to clients beyond the limit of requests (RFC 6960 section 2.3)."""
    return _failure(ocsp.OCSPResponseStatus.TRY_LATER)


def _nonce(request: ocsp.OCSPRequest) -> x509.OCSPNonce | None:
    try:
        found = request.extensions.get_extension_for_class(x509.OCSPNonce).value
    except x509.ExtensionNotFound:
        return None
    if not 1 <= len(found.nonce) <= MAX_NONCE_BYTES:
        raise ValueError("a nonce has 1 to 128 bytes")
    return found


_HASHES: Final = MappingProxyType({algorithm.name: algorithm for algorithm in (hashes.SHA1, hashes.SHA256)})


def _issuer(
    connection: Connection, name_hash: bytes, key_hash: bytes, algorithm: type[hashes.HashAlgorithm]
) -> authorities.Listed | None:
    for record in authorities.listed(connection):
        if _digests(record.certificate_der, algorithm) == (name_hash, key_hash):
            return record
    return None


@lru_cache(maxsize=256)  # two for each authority; every request needs them
def _digests(certificate_der: bytes, algorithm: type[hashes.HashAlgorithm]) -> tuple[bytes, bytes]:
    certificate = certificate_in(certificate_der)
    name = _digest(certificate.subject.public_bytes(), algorithm)
    return name, _digest(spki_bits(certificate.public_key()), algorithm)


def _digest(data: bytes, algorithm: type[hashes.HashAlgorithm]) -> bytes:
    digest = hashes.Hash(algorithm())
    digest.update(data)
    return digest.finalize()
