"""Certificate revocation lists as they are read: whole, of a kind that is understood, with an end.

What this module keeps true: a list that covers only some certificates has a scope that says which, and is never taken
for a whole one. Delta lists, indirect lists and lists for some reasons are refused. Every entry counts, whatever its
reason: a certificate on hold is refused, and `removeFromCRL` has no meaning in a complete list.

Sources: RFC 5280 section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.errors import ConfigError
from gateway.x509 import pem
from gateway.x509.fields import extensions_of, issuer_of
from gateway.x509.loading import tolerated_serials
from gateway.x509.scopes import WHOLE, Scope, scope_of
from gateway.x509.unreadable import UNREADABLE

# Fraction of a list's life after which a missing successor is worth a warning.
WARN_AFTER_LIFE_FRACTION: Final = 0.8
_PEM: Final = b"-----BEGIN X509 CRL-----"
_PEM_END: Final = b"-----END X509 CRL-----"
# Critical extensions whose meaning is "this is a complete list" anyway. RFC 5280 section 5.2.
_HARMLESS: Final = (x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuerAlternativeName, x509.FreshestCRL)
_WEAK_DIGESTS: Final = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """A list that is complete for its scope; whose key signed it is not known yet."""

    source: str  # file or URL, for messages
    crl: x509.CertificateRevocationList
    issuer: x509.Name  # of the list, read when it was loaded: `issuer_of(crl)` of a broken one raises only when asked
    number: int  # -1 where there is none
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]
    scope: Scope = WHOLE

    @property
    def title(self) -> str:
        """For messages: its file or URL, and its number where it has one."""
        return self.source if self.number < 0 else f"{self.source} (number {self.number})"

    def is_signed_by(self, ca: x509.Certificate) -> bool:
        """True when `ca`'s key made the signature."""
        try:
            return self.crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
        except UNREADABLE:
            return False

    def warning(self, now: datetime) -> str | None:
        """One line when the list is outdated or soon will be."""
        end = f"{self.next_update:%Y-%m-%d %H:%M} UTC"
        if now > self.next_update:
            return f"{self.source}: the revocation list is outdated since {end}; publish a new one"
        life = self.next_update - self.this_update
        if now > self.this_update + life * WARN_AFTER_LIFE_FRACTION:
            return f"{self.source}: the revocation list ends {end}; publish a new one"
        return None


def parse_lists(data: bytes, source: str) -> tuple[RevocationList, ...]:
    """Every list in PEM text, or one in DER. Raises `ConfigError` for one that can't be used."""
    try:
        crls = [x509.load_pem_x509_crl(block) for block in _pem_blocks(data)] or [x509.load_der_x509_crl(data)]
        return tuple(_revocation_list(crl, source) for crl in crls)
    except pem.PemError as error:
        raise ConfigError(f"{source}: {error.cause}", error.remedy) from error
    except UNREADABLE as error:
        raise ConfigError(f"{source}: not a readable revocation list ({error})", "use PEM or DER CRLs") from error


def _pem_blocks(data: bytes) -> list[bytes]:
    count = pem.list_blocks(data) if b"-----BEGIN" in data else 0
    parts = zip(range(count), data.split(_PEM)[1:], strict=True)  # another number is a ValueError
    return [_PEM + part.partition(_PEM_END)[0] + _PEM_END for _, part in parts]


def _revocation_list(crl: x509.CertificateRevocationList, source: str) -> RevocationList:
    number, scope = -1, WHOLE
    for extension in extensions_of(crl):
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        if isinstance(value, x509.IssuingDistributionPoint):
            scope = scope_of(value, issuer_of(crl), source)
        elif isinstance(value, x509.DeltaCRLIndicator) or (extension.critical and not isinstance(value, _HARMLESS)):
            raise ConfigError(
                f"{source}: the list has the extension {extension.oid.dotted_string}, so it is not a complete one",
                "publish a complete revocation list (no delta)",
            )
    if isinstance(crl.signature_hash_algorithm, _WEAK_DIGESTS):
        raise ConfigError(f"{source}: the list is signed with a digest that can be forged", "sign it with SHA-256")
    if crl.next_update_utc is None:
        raise ConfigError(f"{source}: the list has no nextUpdate", "let the CA set it (openssl ca -crldays)")
    with tolerated_serials():
        serials = frozenset(entry.serial_number for entry in crl)
    return RevocationList(source, crl, issuer_of(crl), number, crl.last_update_utc, crl.next_update_utc, serials, scope)
