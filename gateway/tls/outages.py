"""Finds the CAs and revocation lists of a site that need an admin, and tells which of them refuse clients now.

Keeps true: a finding is an outage if and only if every certificate of a CA is refused because of the
CA's dates or those of a revocation list. An expired CA is no outage while another one in `client_ca` covers the same
certificates, and an expired list is no outage while another current list covers the same scope. Under `if_present` a
list never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from gateway.tls.revocation import Revocation, may_sign_lists
from gateway.x509.fields import subject_of
from gateway.x509.keys import are_equal, has_issued
from gateway.x509.name_matching import FoldedName, folded
from gateway.x509.revocation_list import RevocationList
from gateway.x509.scoped_lists import ScopedLists, by_scope
from gateway.x509.scopes import WHOLE, Holders, Scope
from gateway.x509.unreadable import UNREADABLE

# A month to replace a certificate, a week as a reminder, a day to do it now.
DAYS_BEFORE_END: Final = (1, 7, 30)

_CLOCK: Final = "correct this machine's clock if it is wrong, or wait"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding for the admin, in one line."""

    cause: str
    remedy: str
    is_outage: bool = False  # clients are refused now
    source: str | None = None  # the file or URL of the list, if a list causes the outage

    def __str__(self) -> str:
        return f"{self.cause}; {self.remedy}" if self.remedy else self.cause


def find(anchors: Sequence[x509.Certificate], revocation: Revocation | None, now: datetime) -> Iterator[Finding]:
    """The findings about these CAs and their lists at `now`."""
    valid = [anchor for anchor in anchors if _is_valid(anchor, now)]
    if anchors and not valid:
        cause = "no CA in client_ca is valid now: every client certificate is refused"
        yield Finding(cause, "renew a CA, or correct this machine's clock", is_outage=True)
    for anchor in anchors:
        yield from _of_dates(anchor, valid, now)
    if revocation is None:
        return
    for anchor in anchors:
        yield from _of_lists(anchor, anchors, revocation, now, counts=anchor in valid)
    yield from _of_others(anchors, revocation, now)


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    # Both ends belong to the validity, to the second (RFC 5280 section 4.1.2.5).
    return certificate.not_valid_before_utc <= now.replace(microsecond=0) <= certificate.not_valid_after_utc


def _of_dates(anchor: x509.Certificate, valid: Sequence[x509.Certificate], now: datetime) -> Iterator[Finding]:
    begin, end = anchor.not_valid_before_utc, anchor.not_valid_after_utc
    if now < begin:  # a CA that was added in advance has issued no certificates yet
        cause = f"the CA {_name(anchor)} is not valid before {_text(begin)}: its certificates are refused"
        yield Finding(cause, _CLOCK, is_outage=not valid)
    elif anchor not in valid and _is_needed(anchor, valid):
        cause = f"the CA {_name(anchor)} expired {_text(end)}: all its certificates are refused"
        yield Finding(cause, "name the CA's new certificate in client_ca instead", is_outage=True)
    elif line := expiry_line("the CA", anchor, now):
        yield _of_line(line)


def _is_needed(anchor: x509.Certificate, valid: Sequence[x509.Certificate]) -> bool:
    """False if a CA of the same name and key, or one that this CA issued, is valid: clients use those."""
    return not any(_is_same_ca(anchor, other) or has_issued(anchor, other) for other in valid)


def _is_same_ca(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        return folded(subject_of(one)) == folded(subject_of(other)) and are_equal(one.public_key(), other.public_key())
    except UNREADABLE:
        return False


def _of_lists(
    anchor: x509.Certificate,
    anchors: Sequence[x509.Certificate],
    revocation: Revocation,
    now: datetime,
    *,
    counts: bool,
) -> Iterator[Finding]:
    """`counts`: the CA is valid, so a current list would let its certificates in."""
    groups, is_required = revocation.of_ca(anchor), revocation.policy == "require"
    if not groups:
        if is_required:
            is_root = any(other is not anchor and has_issued(anchor, other) for other in anchors)
            cause = f"no revocation list of {_name(anchor)}: all its certificates are refused"
            yield Finding(cause, "name the CA's list in crl", is_outage=counts and not is_root)
        return
    if is_required and counts and not may_sign_lists(anchor):
        cause = f"{_name(anchor)} may not sign revocation lists (no cRLSign in its key usage)"
        remedy = "issue the CA's certificate again with cRLSign, or write crl_policy: if_present"
        yield Finding(f"{cause}: all its certificates are refused", remedy, is_outage=True)
    further = [group for key in revocation.list_keys(anchor, anchors, now) for group in revocation.of_ca(key)]
    yield from _of_groups(groups, further, _name(anchor), now, is_required=is_required and counts)


def _of_others(anchors: Sequence[x509.Certificate], revocation: Revocation, now: datetime) -> Iterator[Finding]:
    """The findings about lists of CAs that are not anchors, grouped by the signer that they name."""
    known = {folded(subject_of(anchor)) for anchor in anchors}
    by_signer: dict[tuple[FoldedName, bytes | None], list[RevocationList]] = {}
    for entry in revocation.lists:
        if entry.claimed_signer[0] not in known:
            by_signer.setdefault(entry.claimed_signer, []).append(entry)
    for lists in by_signer.values():
        name = repr(lists[0].issuer.rfc4514_string())
        yield from _of_groups(by_scope(lists), (), name, now, is_required=revocation.policy == "require")


def _of_groups(
    groups: Sequence[ScopedLists], further: Sequence[ScopedLists], ca: str, now: datetime, *, is_required: bool
) -> Iterator[Finding]:
    current = [group for group in (*groups, *further) if _is_current(group, now)]
    for group in groups:
        found = [_of_line(line) for line in group.warnings(now)]
        refused = _uncovered(group.scope, [other.scope for other in current])
        if not is_required or refused is None:
            yield from found
            continue
        first = found[0]  # why this list isn't current
        which = "all certificates" if refused == WHOLE else "certificates"
        who = f"{which} of {ca} are refused{'' if refused == WHOLE else f' ({refused})'}"
        yield Finding(f"{first.cause}: {who}", first.remedy or _CLOCK, is_outage=True, source=group.newest.source)


def _uncovered(scope: Scope, current: Sequence[Scope]) -> Scope | None:
    """The part of a list's scope that no current list covers; None if all is covered."""
    kinds = [kind for kind in (Holders.USERS, Holders.CAS) if scope.holders in (Holders.ALL, kind)]
    parts = [Scope(kind, scope.points) for kind in kinds]
    left = [part for part in parts if not any(other.includes(part) for other in current)]
    if not left:
        return None
    return scope if len(left) == len(parts) else left[0]


def _is_current(group: ScopedLists, now: datetime) -> bool:
    end = group.at(now).end
    return end is not None and now <= end


def _of_line(line: str) -> Finding:
    cause, _, remedy = line.rpartition("; ")
    return Finding(cause, remedy) if cause else Finding(line, "")


def expiry_line(what: str, certificate: x509.Certificate, now: datetime) -> str | None:
    """One line if `certificate` has expired or soon will; it changes only when one of `DAYS_BEFORE_END` is reached."""
    end = certificate.not_valid_after_utc
    name = f"{what} {_name(certificate)}"
    if now > end:
        return f"{name} expired {_text(end)}; renew it"
    for days in DAYS_BEFORE_END:
        if end - now < timedelta(days=days):
            return f"{name} expires {_text(end)}, within {days} day{'s' if days > 1 else ''}; renew it"
    return None


def of_site_certificate(source: str, certificate: x509.Certificate, hosts: str, now: datetime) -> Finding | None:
    """The finding about the certificate that a site shows, or None; `source` is its file."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    what = f"{source}: the certificate {_name(certificate)}"
    if now.replace(microsecond=0) > end:
        cause = f"{what} expired {_text(end)}: browsers and mail programs refuse {hosts}"
        return Finding(cause, "renew it", is_outage=True)
    if now < begin:
        cause = f"{what} is not valid before {_text(begin)}: browsers and mail programs refuse {hosts}"
        return Finding(cause, _CLOCK, is_outage=True)
    line = expiry_line(f"{source}: the certificate", certificate, now)
    return None if line is None else _of_line(line)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _name(certificate: x509.Certificate) -> str:
    return repr(subject_of(certificate).rfc4514_string())
