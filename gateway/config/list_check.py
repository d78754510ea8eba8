"""Checks the revocation lists that a site names as files: their issuers, their dates, and what they cover."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509

from gateway.config.certificates import name_of
from gateway.config.problems import Place, Problems, listing, quote
from gateway.x509.fields import subject_of
from gateway.x509.name_matching import folded
from gateway.x509.revocation_list import RevocationList
from gateway.x509.scoped_lists import by_scope


class ListCheck:
    """Collects the lists of one site. `anchors`: the CAs in its `client_ca`."""

    def __init__(self, anchors: Iterable[x509.Certificate], now: datetime, problems: Problems) -> None:
        self._now = now
        self._problems = problems
        self._names = {anchor: folded(subject_of(anchor)) for anchor in anchors}
        self._found: list[tuple[Place, RevocationList, x509.Certificate | None]] = []
        self._forged: set[x509.Certificate] = set()  # CAs with a list whose wrong signature is reported

    def add(self, place: Place, lists: Iterable[RevocationList]) -> None:
        """Add the lists of one file. A list whose issuer is one of the CAs is an error unless that CA signed it."""
        for entry in lists:
            named = [anchor for anchor, name in self._names.items() if name == folded(entry.issuer)]
            signer = next((anchor for anchor in named if entry.is_signed_by(anchor)), None)
            if named and signer is None:
                cause = f"the list is not signed by the key of {name_of(named[0])}"
                self._problems.error(place, cause, "fetch or issue it again")
                self._forged.update(named)
            self._found.append((place, entry, signer))

    def check_dates(self) -> None:
        """Report the lists that are not valid now: as a warning if another list covers the same certificates."""
        for place, entry, signer in self._found:
            kind = "list" if entry.base_number is None else "delta list"
            what = f"the {kind} of {quote(entry.issuer.rfc4514_string())}"
            if entry.next_update <= self._now:
                cause, remedy = f"{what} expired {_date(entry.next_update)}", "fetch or issue a new one"
            elif entry.this_update > self._now:
                cause, remedy = (
                    f"{what} is not valid before {_date(entry.this_update)}",
                    "check the clock, or fetch the current list",
                )
            else:
                self._warn_of_end(place, entry, signer, what)
                continue
            if self._is_covered(entry, signer):
                self._problems.warning(place, f"{cause}, but another list is valid now", remedy)
            else:
                self._problems.outdated(place, cause, remedy)

    def _warn_of_end(self, place: Place, entry: RevocationList, signer: x509.Certificate | None, what: str) -> None:
        """Warn of a list that ends soon and has not been renewed. The log does so too while the gateway runs."""
        if entry.warning(self._now) is None or self._end_beside(entry, signer) > entry.next_update:
            return
        self._problems.warning(place, f"{what} ends {_date(entry.next_update)}", "fetch or issue a new one")

    def check_coverage(self, place: Place) -> None:
        """Report the CAs whose users are refused because no list covers their certificates."""
        if self._names and self._found and all(signer is None for _, _, signer in self._found) and not self._forged:
            cause = "no list here is from a CA in client_ca, so every certificate is refused"
            remedy = f"add the list of {listing(map(name_of, self._names), 'and')}, or remove crl"
            self._problems.outdated(place, cause, remedy)
            return
        for anchor in (anchor for anchor in self._names if anchor not in self._forged):
            lists = [entry for _, entry, signer in self._found if signer is anchor]
            if not lists:
                cause = f"no list here is from {name_of(anchor)}, so all certificates that it issued are refused"
                self._problems.warning(place, cause, "add its list, or write crl_policy: if_present")
            elif not any(group.scope.may_cover_users and group.complete for group in by_scope(lists)):
                cause = f"no list from {name_of(anchor)} covers users' certificates, so all that it issued are refused"
                remedy = "add its list of users' certificates; ignore this if it issues only CA certificates"
                self._problems.warning(place, cause, remedy)

    def check_use(self, place: Place) -> None:
        """Warn of lists under `if_present` that no CA in `client_ca` has issued: what they revoke may be let in."""
        if self._names and self._found and all(signer is None for _, _, signer in self._found) and not self._forged:
            cause = "no list here is from a CA in client_ca, so no certificate that such a CA issued is looked up"
            remedy = f"add the list of {listing(map(name_of, self._names), 'and')}"
            self._problems.warning(place, cause, remedy)

    def _is_covered(self, entry: RevocationList, signer: x509.Certificate | None) -> bool:
        """True if another list of the same CA and scope is valid now."""
        return self._end_beside(entry, signer) > self._now

    def _end_beside(self, entry: RevocationList, signer: x509.Certificate | None) -> datetime:
        """The latest end of the lists of the same CA and scope that are valid now; `now` if there is none."""
        of_ca = [
            other
            for _, other, by in self._found
            if by is signer and (signer is not None or other.claimed_signer == entry.claimed_signer)
        ]
        ends = [group.at(self._now).end for group in by_scope(of_ca) if group.scope == entry.scope]
        return max((end for end in ends if end is not None), default=self._now)


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
