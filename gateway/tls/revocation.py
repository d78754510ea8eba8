"""Certificate revocation lists: which are believed, and what they say of one certificate.

What this module keeps true:
- A list speaks for a CA only when that CA's key signed it; of several the newest counts: CRL number, then thisUpdate.
- A CA that changed its key and certified the new one itself is still one CA: either key's lists count on that path.
- A list of a CA whose key usage has no cRLSign clears nobody; whom it names stays out.
- Under `require` a certificate passes only when a list that is valid now covers its CA. Under `if_present` a missing
  or outdated list stops nobody, but whom an outdated list names stays out until a newer one says otherwise.
- A list of a kind that covers only a part (delta, indirect, partitioned, some reasons) is refused, never taken for
  a whole one.

Every entry counts, whatever its reason: a certificate on hold is out, and `removeFromCRL` has no meaning in a
complete list. Sources: RFC 5280 sections 5 and 6.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from gateway.errors import ConfigError
from gateway.tls.files import tolerated_serials

CrlPolicy = Literal["require", "if_present"]

# Fraction of a list's life after which a missing successor is worth a warning.
WARN_AFTER_LIFE_FRACTION: Final = 0.8
# CAs whose list has been looked up; above it the memory is started anew. Only CAs under a site's anchors get here.
MAX_REMEMBERED_CAS: Final = 256

_PEM: Final = b"-----BEGIN X509 CRL-----"
_PEM_END: Final = b"-----END X509 CRL-----"
# Critical extensions whose meaning is "this is a complete list" anyway. RFC 5280 section 5.2.
_HARMLESS: Final = (x509.CRLNumber, x509.AuthorityKeyIdentifier, x509.IssuerAlternativeName, x509.FreshestCRL)
# Extensions that make a list cover only a part, critical or not.
_PARTIAL: Final = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
_WEAK_DIGESTS: Final = (hashes.MD5, hashes.SHA1)
# What `cryptography` raises for broken bytes; TypeError for a text of a name that is typed as a BIT STRING, say.
_UNREADABLE: Final = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion),
)


class Status(Enum):
    """What is known of one certificate."""

    GOOD = auto()
    REVOKED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, why, and until when it may be remembered (None: without an end of its own)."""

    status: Status
    detail: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """One complete list; whose key signed it is not known yet."""

    source: str  # file or URL, for messages
    crl: x509.CertificateRevocationList
    issuer: x509.Name  # of the list, read when it was loaded: `crl.issuer` of a broken one raises only when asked
    number: int  # -1 where there is none
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]

    def is_signed_by(self, ca: x509.Certificate) -> bool:
        """True when `ca`'s key made the signature."""
        try:
            return self.crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
        except (ValueError, TypeError, UnsupportedAlgorithm):
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
    except _UNREADABLE as error:
        raise ConfigError(f"{source}: not a readable revocation list ({error})", "use PEM or DER CRLs") from error


def _pem_blocks(data: bytes) -> list[bytes]:
    blocks = []
    for part in data.split(_PEM)[1:]:
        body, end, _rest = part.partition(_PEM_END)
        blocks.append(_PEM + body + end)
    return blocks


def _revocation_list(crl: x509.CertificateRevocationList, source: str) -> RevocationList:
    number = -1
    for extension in crl.extensions:
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        if isinstance(extension.value, _PARTIAL) or (extension.critical and not isinstance(extension.value, _HARMLESS)):
            raise ConfigError(
                f"{source}: the list has the extension {extension.oid.dotted_string}, so it is not a complete one",
                "publish a complete revocation list (no delta, no indirect, no partitioned list)",
            )
    if isinstance(crl.signature_hash_algorithm, _WEAK_DIGESTS):
        raise ConfigError(f"{source}: the list is signed with a digest that can be forged", "sign it with SHA-256")
    if crl.next_update_utc is None:
        raise ConfigError(f"{source}: the list has no nextUpdate", "let the CA set it (openssl ca -crldays)")
    with tolerated_serials():
        serials = frozenset(entry.serial_number for entry in crl)
    return RevocationList(source, crl, crl.issuer, number, crl.last_update_utc, crl.next_update_utc, serials)


class Revocation:
    """The lists of one site, asked by certificate. Which list belongs to a CA is found once and remembered."""

    __slots__ = ("_by_ca", "lists", "policy")

    def __init__(self, lists: Iterable[RevocationList], policy: CrlPolicy) -> None:
        # Newest first, so that the first that fits is the one.
        self.lists = tuple(sorted(lists, key=lambda entry: (entry.number, entry.this_update), reverse=True))
        self.policy = policy
        self._by_ca: dict[x509.Certificate, tuple[RevocationList, ...]] = {}

    def of_ca(self, ca: x509.Certificate) -> tuple[RevocationList, ...]:
        """The lists that `ca` signed, newest first."""
        found = self._by_ca.get(ca)
        if found is None:
            name = _folded(ca.subject)
            found = tuple(entry for entry in self.lists if _folded(entry.crl.issuer) == name and entry.is_signed_by(ca))
            if len(self._by_ca) >= MAX_REMEMBERED_CAS:
                self._by_ca.clear()
            self._by_ca[ca] = found
        return found

    def status_on_path(self, certificate: x509.Certificate, above: Sequence[x509.Certificate], now: datetime) -> Answer:
        """As `status`; `above` is the verified path from the certificate's issuer to the anchor.

        A CA with several keys is on it several times (self-issued certificates, RFC 5280 section 3.2).
        """
        name = _folded(above[0].subject)
        answers = [self.status(certificate, ca, now) for ca in above if _folded(ca.subject) == name]
        for status in (Status.REVOKED, Status.GOOD):
            for answer in answers:
                if answer.status is status:
                    return answer
        return answers[0]

    def status(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Answer:
        """What the newest list of `issuer` that has begun says of `certificate`."""
        lists = self.of_ca(issuer)
        current = next((entry for entry in lists if entry.this_update <= now), None)
        begins = min((entry.this_update for entry in lists if entry.this_update > now), default=None)
        if current is None:
            return self._uncovered(f"no revocation list of {_name(issuer)}", begins)
        with tolerated_serials():
            is_revoked = certificate.serial_number in current.serials
        if is_revoked:
            return Answer(Status.REVOKED, f"revoked by {_name(issuer)}")
        if not _may_sign_lists(issuer):
            return self._uncovered(
                f"{_name(issuer)} may not sign revocation lists (no cRLSign in its key usage)", begins
            )
        if now > current.next_update:
            return self._uncovered(
                f"the revocation list of {_name(issuer)} is outdated since {current.next_update:%Y-%m-%d %H:%M} UTC",
                begins,
            )
        return Answer(Status.GOOD, until=min(current.next_update, begins) if begins else current.next_update)

    def _uncovered(self, detail: str, until: datetime | None) -> Answer:
        return Answer(Status.GOOD if self.policy == "if_present" else Status.UNKNOWN, detail, until)


def _may_sign_lists(ca: x509.Certificate) -> bool:
    """False when there is a key usage without cRLSign (RFC 5280 section 6.3.3 (f))."""
    try:
        return ca.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _folded(name: x509.Name) -> tuple[frozenset[tuple[str, str | bytes]], ...]:
    """A name as names are compared: without regard to case, white space and string type (RFC 5280 section 7.1)."""
    return tuple(
        frozenset((attribute.oid.dotted_string, _folded_value(attribute.value)) for attribute in rdn)
        for rdn in name.rdns
    )


def _folded_value(value: str | bytes) -> str | bytes:
    return value if isinstance(value, bytes) else " ".join(value.casefold().split())


def _name(ca: x509.Certificate) -> str:
    return repr(ca.subject.rfc4514_string())
