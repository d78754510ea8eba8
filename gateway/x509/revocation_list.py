"""Reads certificate revocation lists and refuses those that can't be used safely.

Keeps true: a list that covers only some certificates has a scope that says which, and is never used as
a list for all. A delta list names the complete list that it changes. Indirect lists and lists for some reasons only are
refused. Every entry counts, whatever its reason: a certificate on hold is refused. `removeFromCRL` has a meaning only
in a delta list; in a complete list such an entry revokes.

Sources: RFC 5280 section 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509

from gateway.errors import ConfigError
from gateway.x509 import pem
from gateway.x509.fields import extensions_of, issuer_of
from gateway.x509.loading import tolerated_serials
from gateway.x509.name_matching import FoldedName, folded
from gateway.x509.scopes import WHOLE, Scope, scope_of
from gateway.x509.strength import weakness_of_digest
from gateway.x509.unreadable import UNREADABLE, in_words

# After this fraction of a list's lifetime, a missing successor causes a warning.
WARN_AFTER_LIFE_FRACTION: Final = 0.8
# Critical extensions that don't limit what the list covers. RFC 5280 section 5.2.
_HARMLESS: Final = (x509.IssuerAlternativeName, x509.FreshestCRL)


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """A list that is complete for its scope, or a delta list. Its signature has not been checked yet."""

    source: str  # file, or URL without its secrets, for messages
    crl: x509.CertificateRevocationList
    issuer: x509.Name  # read when the list was loaded, because `issuer_of(crl)` may raise
    number: int  # -1 if it has none
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]
    scope: Scope = WHOLE
    base_number: int | None = None  # of a delta list: it has all changes since the complete list of this number
    removed: frozenset[int] = frozenset()  # serials that a delta list releases from hold
    key_identifier: bytes | None = None  # of the key that signed it, as the list says

    @property
    def claimed_signer(self) -> tuple[FoldedName, bytes | None]:
        """Equal for lists that claim the same CA and key."""
        return folded(self.issuer), self.key_identifier

    @property
    def kind(self) -> str:
        """For messages: "revocation list" or "delta list"."""
        return "revocation list" if self.base_number is None else "delta list"

    @property
    def title(self) -> str:
        """Its file or URL, and its number if it has one, for messages."""
        what = "number" if self.base_number is None else "delta number"
        return self.source if self.number < 0 else f"{self.source} ({what} {self.number})"

    def is_signed_by(self, ca: x509.Certificate) -> bool:
        """True if `ca`'s key made the signature."""
        try:
            return self.crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
        except UNREADABLE:
            return False

    def holds(self, serial: int) -> bool:
        """Whether the entry for this serial says `certificateHold`. The whole list is searched."""
        try:
            entry = self.crl.get_revoked_certificate_by_serial_number(serial)
            return entry is not None and _reason(entry) is x509.ReasonFlags.certificate_hold
        except UNREADABLE:  # negative serials can't be searched for
            return False

    def warning(self, now: datetime) -> str | None:
        """One line if the list has expired or soon will; else None."""
        end = f"{self.next_update:%Y-%m-%d %H:%M} UTC"
        if now > self.next_update:
            return f"{self.source}: the {self.kind} expired {end}; publish a new one"
        life = self.next_update - self.this_update
        if now > self.this_update + life * WARN_AFTER_LIFE_FRACTION:
            return f"{self.source}: the {self.kind} expires {end}; publish a new one"
        return None


def parse_lists(data: bytes, source: str) -> tuple[RevocationList, ...]:
    """Every list in PEM text, or one in DER. Raises `ConfigError` for one that can't be used."""
    try:
        crls = [x509.load_pem_x509_crl(block) for block in pem.list_texts(data)] or [x509.load_der_x509_crl(data)]
        return tuple(_revocation_list(crl, source) for crl in crls)
    except pem.PemError as error:
        raise ConfigError(f"{source}: {error.cause}", error.remedy) from error
    except UNREADABLE as error:
        raise ConfigError(
            f"{source}: not a readable revocation list ({in_words(error)})", "name a revocation list in PEM or DER"
        ) from error


def _revocation_list(crl: x509.CertificateRevocationList, source: str) -> RevocationList:
    found = outline(crl, source)
    with tolerated_serials():
        serials = frozenset(entry.serial_number for entry in crl)
        removed = serials - (serials if found.base_number is None else _named_by_a_delta(crl))
    return replace(found, serials=serials - removed, removed=removed)


def outline(crl: x509.CertificateRevocationList, source: str) -> RevocationList:
    """A list without its entries, which is enough to check it. Raises `ConfigError`, or one of `UNREADABLE`."""
    number, scope = -1, WHOLE
    base_number: int | None = None
    key_identifier: bytes | None = None
    for extension in extensions_of(crl):
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.DeltaCRLIndicator):
            base_number = value.crl_number
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            key_identifier = value.key_identifier
        elif isinstance(value, x509.IssuingDistributionPoint):
            scope = scope_of(value, issuer_of(crl), source)
        elif extension.critical and not isinstance(value, _HARMLESS):
            raise ConfigError(
                f"{source}: the list has the critical extension {extension.oid.dotted_string}, which is not supported",
                "let the CA publish a list without it",
            )
    if weakness_of_digest(crl.signature_hash_algorithm) is not None:
        raise ConfigError(
            f"{source}: the list is signed with a digest that is too weak", "let the CA sign its lists with SHA-256"
        )
    if crl.next_update_utc is None:
        raise ConfigError(f"{source}: the list has no nextUpdate", "let the CA set it (openssl ca -crldays 7)")
    if base_number is not None and number < 0:
        raise ConfigError(f"{source}: the delta list has no CRL number", "let the CA number its lists (cRLNumber)")
    return RevocationList(
        source,
        crl,
        issuer=issuer_of(crl),
        number=number,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        serials=frozenset(),
        scope=scope,
        base_number=base_number,
        key_identifier=key_identifier,
    )


def _named_by_a_delta(crl: x509.CertificateRevocationList) -> frozenset[int]:
    """The serials of entries that are not removals (RFC 5280 section 5.3.1)."""
    return frozenset(entry.serial_number for entry in crl if not _is_removal(entry))


def _is_removal(entry: x509.RevokedCertificate) -> bool:
    return _reason(entry) is x509.ReasonFlags.remove_from_crl


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
