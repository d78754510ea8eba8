"""The delegated OCSP signer of an authority: a certificate for 30 days, whose key is used without a passphrase.

Clients don't check whether the signer is revoked (ocsp-nocheck), so it is valid only briefly. A thief of its key can
give false answers about the authority's certificates until it expires.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.access import exists
from gateway.errors import ConfigError, UsageError
from gateway.pki import issue, pkcs8
from gateway.pki.authority import Authority, LockedAuthority, load
from gateway.pki.desk import Desk
from gateway.pki.files import read, write_private, write_public
from gateway.pki.keys import make
from gateway.pki.ocsp import Signer
from gateway.pki.registry.records import Purpose
from gateway.pki.words import KeyKind
from gateway.stamps import Stamp, stamp_of
from gateway.x509.keys import fits
from gateway.x509.loading import certificate_in, parse_certificates

DAYS: Final = 30
RENEW_BEFORE: Final = timedelta(days=10)

_log = logging.getLogger("gateway.pki")


def make_signer(desk: Desk, authority: Authority, now: datetime) -> Signer:
    """Issue a new signer and write its files. Raises `OperationError`."""
    key = make(KeyKind.ECDSA_P256)

    def deliver(issued: issue.Issued) -> None:
        write_private(desk.file(authority.name, "ocsp.key"), pkcs8.plain_pem(key))
        write_public(desk.file(authority.name, "ocsp.crt"), issued.certificate.public_bytes(Encoding.PEM))

    issued = issue.issue(desk, authority, _order(authority, now), key, now, deliver)
    return Signer(authority.name, authority.certificate, issued.certificate, key)


def check(desk: Desk, authority: LockedAuthority, now: datetime) -> None:
    """Raises `UsageError` as `make_signer` does, before the passphrase is asked for."""
    issue.check(desk, authority, _order(authority, now), now)


def _order(authority: LockedAuthority, now: datetime) -> issue.Order:
    left = (authority.record.not_after - now).days
    return issue.Order(
        email=None, common_name=f"{authority.name} OCSP", purpose=Purpose.OCSP, days=max(1, min(DAYS, left))
    )


def load_signer(desk: Desk, name: str) -> Signer | None:
    """The authority's signer from its files; None if it has none. Raises `UsageError` if the files don't match."""
    certificate_file, key_file = desk.file(name, "ocsp.crt"), desk.file(name, "ocsp.key")
    if not exists(certificate_file):
        return None
    remedy = f"Run 'gateway ca ocsp {name}' as the gateway's user."
    try:
        certificate, *_ = parse_certificates(read(certificate_file), str(certificate_file))
    except ConfigError as error:
        raise UsageError(f"{certificate_file}: is not a certificate", remedy) from error
    try:
        key = pkcs8.load(read(key_file), None, str(key_file))
    except UsageError as error:  # missing, unreadable or encrypted: a new signer mends each of these
        raise UsageError(error.cause, remedy) from error
    if not fits(key, certificate):
        raise UsageError(f"{key_file}: is not the key of {certificate_file}", remedy)
    issuer = certificate_in(load(desk, name).certificate_der)
    return Signer(name, issuer, certificate, key)


class SignerFiles:
    """The signers of a desk, read again when their files have changed. The old one stays if new files don't match."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[str, tuple[_Stamps, Signer | None]] = {}
        self._told: dict[str, _Stamps] = {}  # files that don't match: each request reads them, but logs it only once

    def __call__(self, name: str) -> Signer | None:
        """The authority's signer; None if it has none. Raises `UsageError` if its files have never matched."""
        # The stamps are taken before the files are read, so that a change in between is noticed the next time.
        stamps = tuple(stamp_of(self._desk.file(name, suffix)) for suffix in ("ocsp.crt", "ocsp.key"))
        before = self._known.get(name)
        if before is not None and before[0] == stamps:
            return before[1]
        try:
            signer = load_signer(self._desk, name)
        except UsageError as error:
            # The two files are replaced one after the other, so this is normal for a moment.
            if before is None or before[1] is None:
                raise
            if self._told.get(name) != stamps:
                self._told[name] = stamps
                _log.warning("%s. The former signer of '%s' stays in use. %s", error.cause, name, error.remedy)
            return before[1]
        self._known[name] = stamps, signer
        return signer


_Stamps = tuple[Stamp, ...]


def is_due(signer: Signer | None, now: datetime) -> bool:
    """Whether a new signer must be made: there is none, or it expires within `RENEW_BEFORE`."""
    return signer is None or now >= signer.certificate.not_valid_after_utc - RENEW_BEFORE
