"""Certificate revocation lists: which are believed, and what they say of one certificate.

What this module keeps true:
- A list speaks for a CA only when that CA's key signed it; of several the newest counts: CRL number, then thisUpdate.
- A CA that changed its key and certified the new one itself is still one CA: either key's lists count on that path.
- A list of a CA whose key usage has no cRLSign clears nobody; whom it names stays out.
- Under `require` a certificate passes only when a list that is valid now covers its CA. Under `if_present` a missing
  or outdated list stops nobody, but whom an outdated list names stays out until a newer one says otherwise.

Sources: RFC 5280 sections 5 and 6.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cryptography import x509

from gateway.x509.loading import tolerated_serials
from gateway.x509.revocation_list import RevocationList
from gateway.x509.status import Status

CrlPolicy = Literal["require", "if_present"]

# CAs whose list has been looked up; above it the memory is started anew. Only CAs under a site's anchors get here.
MAX_REMEMBERED_CAS: Final = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, why, and until when it may be remembered (None: without an end of its own)."""

    status: Status
    detail: str = ""
    until: datetime | None = None


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
