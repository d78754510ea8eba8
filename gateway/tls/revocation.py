"""Certificate revocation lists: which are used, and what they say about a certificate.

Keeps true:
- A list is used for a CA only if that CA's key signed it. Of several lists of one scope, the newest that is already
  valid is used; lists of different scopes are used together.
- A delta list is used only with the complete list that it changes.
- A list can confirm only certificates in its scope. A certificate that any current list of its CA names is refused,
  even if it is not in that list's scope.
- A CA that changed its key and certified the new key itself is one CA: the lists of both keys are used. So are the
  lists of a key that only signs lists, if the CA itself or the CA above it certified that key.
- A list of a CA whose key usage lacks cRLSign confirms no certificate; those that it names are refused.
- Under `require` a certificate passes only if a currently valid list covers it. Under `if_present` a missing or expired
  list refuses only the certificates that the expired list names, until a newer one says otherwise.

Sources: RFC 5280 sections 5 and 6.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Final, Literal

from cryptography import x509

from gateway.x509.authorities import has_ca_flag
from gateway.x509.fields import extensions_of, subject_of
from gateway.x509.keys import has_issued
from gateway.x509.loading import tolerated_serials
from gateway.x509.name_matching import FoldedName, folded
from gateway.x509.revocation_list import RevocationList
from gateway.x509.scoped_lists import ScopedLists, Standing, by_scope
from gateway.x509.scopes import Traits
from gateway.x509.status import Status
from gateway.x509.strength import weakness_of_key, weakness_of_signature
from gateway.x509.unreadable import UNREADABLE

CrlPolicy = Literal["require", "if_present"]

# For a CA with several keys: revoked by one key's list means revoked, even if other keys' lists don't name it.
_BEST_FIRST: Final = (Status.REVOKED, Status.GOOD, Status.UNKNOWN)

# CAs whose lists were looked up; above this the cache is cleared. Only CAs under a site's anchors are looked up.
MAX_REMEMBERED_CAS: Final = 256
# Revoked certificates that were searched in a list, perhaps of millions; above this the cache is cleared.
MAX_REMEMBERED_HOLDS: Final = 1024
# Lists named in a refusal, which becomes one field of the access log.
MAX_LISTS_IN_MESSAGE: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, its reason, and until when it may be remembered (None: no limit)."""

    status: Status
    detail: str = ""
    until: datetime | None = None
    lists: tuple[RevocationList, ...] = ()  # those by which the certificate is good
    is_on_hold: bool = False  # revoked, and may be released again


class Revocation:
    """The revocation lists of one site. Which lists belong to a CA is found once and remembered."""

    __slots__ = ("_by_ca", "_by_name", "_holds", "lists", "policy")

    def __init__(self, lists: Iterable[RevocationList], policy: CrlPolicy) -> None:
        self.lists = tuple(lists)
        self.policy = policy
        self._by_ca: dict[x509.Certificate, tuple[ScopedLists, ...]] = {}
        self._by_name: dict[FoldedName, list[RevocationList]] = {}
        self._holds: dict[tuple[int, int], bool] = {}  # by list and serial
        for entry in self.lists:
            self._by_name.setdefault(folded(entry.issuer), []).append(entry)

    def of_ca(self, ca: x509.Certificate) -> tuple[ScopedLists, ...]:
        """The lists that `ca` signed, by scope."""
        found = self._by_ca.get(ca)
        if found is None:
            named = self._by_name.get(folded(subject_of(ca)), ())
            found = by_scope(entry for entry in named if entry.is_signed_by(ca))
            if len(self._by_ca) >= MAX_REMEMBERED_CAS:
                self._by_ca.clear()
            self._by_ca[ca] = found
        return found

    def status_on_path(
        self,
        certificate: x509.Certificate,
        above: Sequence[x509.Certificate],
        now: datetime,
        known: Iterable[x509.Certificate] = (),
    ) -> Answer:
        """As `status`; `above` is the verified path from the certificate's issuer to the anchor.

        A CA with several keys appears several times in a row (self-issued certificates, RFC 5280 section 3.2); the
        same name further up belongs to another CA. `known` may hold certificates of other keys that sign its lists.
        """
        name = folded(subject_of(above[0]))
        keys = list(takewhile(lambda ca: folded(subject_of(ca)) == name, above))
        answers = [self.status(certificate, ca, now) for ca in keys]
        if self._has_lists_of_other_keys(name, keys):
            # Keys that the CA itself or the CA above it certified.
            issuers = above[: len(keys) + 1]
            for signer, issuer in _list_signers(name, keys, issuers, known, now):
                answers.append(self._status_by(signer, issuer, certificate, now))
        if len(answers) == 1:
            return answers[0]
        best = min(answers, key=lambda answer: (_BEST_FIRST.index(answer.status), answer.is_on_hold))
        # A list of any of these keys may become valid and name the certificate.
        return replace(best, until=min((answer.until for answer in answers if answer.until is not None), default=None))

    def _is_on_hold(self, naming: RevocationList, serial: int) -> bool:
        """Whether the list says `certificateHold`; remembered, because a revoked client may come back at once."""
        key = id(naming), serial  # `lists` keeps it alive
        found = self._holds.get(key)
        if found is None:
            if len(self._holds) >= MAX_REMEMBERED_HOLDS:
                self._holds.clear()
            found = self._holds[key] = naming.holds(serial)
        return found

    def list_keys(
        self, ca: x509.Certificate, known: Iterable[x509.Certificate], now: datetime
    ) -> tuple[x509.Certificate, ...]:
        """Those of `known` that `ca` certified to sign its lists, and whose lists are used like its own at `now`."""
        found = _list_signers(folded(subject_of(ca)), (ca,), (ca,), known, now)
        return tuple(signer for signer, _ in found if self.status(signer, ca, now).status is Status.GOOD)

    def _has_lists_of_other_keys(self, name: FoldedName, keys: Sequence[x509.Certificate]) -> bool:
        groups = [group for ca in keys for group in self.of_ca(ca)]
        signed = {id(entry) for group in groups for entry in (*group.complete, *group.deltas)}
        return any(id(entry) not in signed for entry in self._by_name.get(name, ()))

    def _status_by(
        self, signer: x509.Certificate, issuer: x509.Certificate, certificate: x509.Certificate, now: datetime
    ) -> Answer:
        """What the lists of `signer`, a key that only signs lists, say; unknown unless its own certificate is good."""
        own = self.status(signer, issuer, now)
        if own.status is not Status.GOOD:
            return Answer(Status.UNKNOWN, f"the key that signs the lists of {_name(issuer)}: {own.detail}")
        answer = self.status(certificate, signer, now)
        ends = [end for end in (own.until, answer.until, signer.not_valid_after_utc) if end is not None]
        return replace(answer, until=min(ends))

    def status(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Answer:
        """What the lists of `issuer` say about `certificate` at `now`."""
        groups = self.of_ca(issuer)
        standings = [(group, group.at(now)) for group in groups]
        with tolerated_serials():
            serial = certificate.serial_number
        traits = Traits(certificate)
        on_hold: Answer | None = None
        for group, standing in standings:
            if (naming := standing.naming(serial)) is not None:
                where = "" if group.scope.covers(traits) else f", in a list that covers {group.scope}"
                if not self._is_on_hold(naming, serial):
                    return Answer(Status.REVOKED, f"revoked by {_name(issuer)}{where}")
                on_hold = Answer(Status.REVOKED, f"put on hold by {_name(issuer)}{where}", is_on_hold=True)
        if on_hold is not None:
            return on_hold
        changes = [change for _, standing in standings for change in standing.changes]
        covering = [standing for group, standing in standings if group.scope.covers(traits)]
        current = [standing for standing in covering if standing.end is not None and now <= standing.end]
        if current and may_sign_lists(issuer):
            lists = tuple(entry for standing in current for entry in standing.lists)
            return Answer(Status.GOOD, until=min(changes), lists=lists)
        why = _why_not_covered(issuer, groups, covering, is_current=bool(current))
        status = Status.GOOD if self.policy == "if_present" else Status.UNKNOWN
        return Answer(status, why, min(changes, default=None))


def _list_signers(
    name: FoldedName,
    keys: Sequence[x509.Certificate],
    issuers: Sequence[x509.Certificate],
    known: Iterable[x509.Certificate],
    now: datetime,
) -> Iterator[tuple[x509.Certificate, x509.Certificate]]:
    """The certificates with this name that may sign lists, each with the one of `issuers` that signed it."""
    for certificate in known:
        try:
            if certificate in keys or folded(subject_of(certificate)) != name or not _is_for_lists(certificate, now):
                continue
        except UNREADABLE:
            continue
        for issuer in issuers:
            if has_issued(issuer, certificate):
                yield certificate, issuer
                break


def _is_for_lists(certificate: x509.Certificate, now: datetime) -> bool:
    """True for a key that may sign lists: by its key usage, or without one if it is a CA's; others may be users'."""
    try:
        may_sign = extensions_of(certificate).get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        may_sign = has_ca_flag(certificate)
    is_valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return may_sign and is_valid and not (weakness_of_key(certificate) or weakness_of_signature(certificate))


def _why_not_covered(
    issuer: x509.Certificate, groups: Sequence[ScopedLists], covering: Sequence[Standing], *, is_current: bool
) -> str:
    if not groups:
        return f"no revocation list of {_name(issuer)}"
    if not covering:
        covered = "; ".join(f"{group.newest.source} covers {group.scope}" for group in groups[:MAX_LISTS_IN_MESSAGE])
        return f"no revocation list of {_name(issuer)} covers this certificate: {covered}"
    if is_current:
        return f"{_name(issuer)} may not sign revocation lists (no cRLSign in its key usage)"
    if ends := [standing.end for standing in covering if standing.end is not None]:
        return f"the revocation list of {_name(issuer)} expired {max(ends):%Y-%m-%d %H:%M} UTC"
    if waiting := [entry for standing in covering for entry in standing.waiting]:
        missing = f"the complete list with number {waiting[0].base_number} or above, which it changes, is missing"
        return f"{waiting[0].source} is a delta list of {_name(issuer)}; {missing}"
    begin = min(change for standing in covering for change in standing.changes)
    return f"the revocation list of {_name(issuer)} is not valid before {begin:%Y-%m-%d %H:%M} UTC"


def may_sign_lists(ca: x509.Certificate) -> bool:
    """False if the key usage lacks cRLSign; True without a key usage (RFC 5280 section 6.3.3 (f))."""
    try:
        return extensions_of(ca).get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _name(ca: x509.Certificate) -> str:
    return repr(subject_of(ca).rfc4514_string())
