"""The registry's records, as frozen values, and the names of states, purposes and reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """The state of a certificate. Whether it is expired or superseded follows from its dates."""

    PENDING = "pending"  # signed, but its files are not all written, so it is not handed out
    LIVE = "live"
    HELD = "held"  # on the revocation list until it is released
    REVOKED = "revoked"


class Purpose(StrEnum):
    """The purpose of a certificate, which determines its extensions."""

    CLIENT = "client"  # logging in and S/MIME with one certificate
    AUTH = "auth"
    SMIME = "smime"
    SMIME_SIGNING = "smime-signing"
    SMIME_ENCRYPTION = "smime-encryption"
    SERVER = "server"
    OCSP = "ocsp"


class RevocationReason(StrEnum):
    """Why a certificate is on the list (RFC 5280 section 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation-of-operation"
    CERTIFICATE_HOLD = "certificate-hold"
    PRIVILEGE_WITHDRAWN = "privilege-withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRecord:
    """A certificate authority in the registry. Its key is not there, but in a file."""

    id: int
    name: str
    parent: str | None
    certificate_der: bytes = field(repr=False)
    chain_der: tuple[bytes, ...] = field(repr=False)  # its issuers, nearest first, up to the root
    domain: str | None  # the rfc822 name constraint
    not_after: datetime
    crl_url: str | None
    ocsp_url: str | None
    issuer_url: str | None
    crl_lifetime: timedelta
    crl_number: int  # of the newest list; 0: there is no list yet
    crl_this_update: datetime | None
    crl_next_update: datetime | None
    crl_der: bytes | None = field(repr=False)
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """A certificate in the registry."""

    id: int
    authority: str
    serial: str  # upper-case hex, an even number of digits
    common_name: str
    email: str | None
    upn: str | None
    device: str | None
    purpose: Purpose
    state: State
    p12_format: str | None
    subject: str  # RFC 4514
    fingerprint: str  # SHA-256 over the DER, lower-case hex
    der: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    created_at: datetime
    created_by: str
    run: str | None  # the import that made it
    renews: str | None  # serial of the one it replaces
    supersede_at: datetime | None  # when its replacement takes over
    revoked_at: datetime | None
    reason: RevocationReason | None
    escrow: bytes | None = field(repr=False)  # the encrypted private key, only if it was issued with --escrow

    def status(self, now: datetime) -> str:
        """The state in a word; `expired` and `superseded` follow from the dates."""
        if self.state in (State.LIVE, State.HELD) and self.not_after < now:
            return "expired"
        if self.state is State.LIVE and self.supersede_at is not None and self.supersede_at <= now:
            return "superseded"
        return self.state.value

    def is_usable(self, now: datetime) -> bool:
        """Whether the certificate is accepted now."""
        return self.status(now) == State.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntry:
    """One entry of a revocation list."""

    serial: str
    revoked_at: datetime
    reason: RevocationReason

    @property
    def is_hold(self) -> bool:
        """Whether the certificate can be released; otherwise it is revoked for good."""
        return self.reason is RevocationReason.CERTIFICATE_HOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry of the audit trail."""

    id: int
    at: datetime
    actor: str
    action: str
    authority: str | None
    serial: str | None
    detail: str
