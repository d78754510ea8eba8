"""Certification paths: from a client's certificate up to one of a site's own trust anchors, found by OpenSSL.

What this module keeps true: a path ends at a configured anchor, every signature on it was checked, and name
constraints, path lengths and unknown critical extensions were heeded. An intermediate that is an anchor ends the path,
but not the name constraints of an anchor above it. Of CAs that have one name and different keys each counts for those
whom its own key signed, in whatever order they come. What OpenSSL's `X509Store` leaves open
(key sizes, digests, key usage, X.509v1 CAs, revocation) is not decided here.

Sources: RFC 5280 section 6; verify(1) of OpenSSL for what a partial chain is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from gateway.errors import GatewayError
from gateway.x509.authorities import is_constrained
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.keys import has_issued
from gateway.x509.names import MAX_CERTIFICATE_BYTES
from gateway.x509.unreadable import UNREADABLE

# Certificates of a client's own chain that are looked at. Real paths have one or two intermediates; the bound is
# on the signatures that an unauthenticated client can make us check.
MAX_CHAIN_CERTIFICATES: Final = 10

# Pairs of a certificate and a CA with its issuer's name, where CAs of one name have different keys: as many signatures
# may be checked. Two such roots with two such intermediates below make six pairs.
MAX_SIGNATURE_CHECKS: Final = 64
# Ways from a leaf to an anchor that OpenSSL is asked about then, unfinished ones counted. Only who has a CA's key can
# make many.
MAX_WAYS: Final = 32

# X509_V_FLAG_NO_CHECK_TIME; pyOpenSSL has no name for it.
_NO_CHECK_TIME: Final = 0x200000
# X509_V_ERR_* of x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_SELF_SIGNED_LEAF: Final = 18
_NO_ISSUER: Final = frozenset({2, 19, 20, 21})


_Way = tuple[x509.Certificate, ...]


class PathError(GatewayError):
    """No path to a trust anchor."""


class Paths:
    """Builds paths to a fixed set of trust anchors; an intermediate that is configured is an anchor like a root."""

    __slots__ = ("_anchors", "_at_any_time", "_below", "_below_anchors", "_keys", "_timely", "_top", "_top_anchors")

    def __init__(self, anchors: Sequence[x509.Certificate]) -> None:
        # Where an anchor with name constraints has issued another one: the anchors that none has issued, and the rest.
        self._top: crypto.X509Store | None = None
        self._below: list[crypto.X509] = []
        self._anchors = tuple(anchors)
        self._top_anchors: tuple[x509.Certificate, ...] = ()
        self._below_anchors: tuple[x509.Certificate, ...] = ()
        self._keys = _keys_by_name(_load(anchor.public_bytes(Encoding.DER)) for anchor in anchors)
        below = _issued_by_others(anchors)
        if any(is_constrained(issuer, if_unreadable=True) for issuer in below.values()):
            self._top_anchors = tuple(anchor for anchor in anchors if anchor not in below)
            self._below_anchors = tuple(below)
            self._top = _store(self._top_anchors, crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME)
            self._below = [_load(anchor.public_bytes(Encoding.DER)) for anchor in below]
        self._timely = _store(anchors, crypto.X509StoreFlags.PARTIAL_CHAIN)
        self._at_any_time = _store(anchors, crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME)

    def find(self, leaf_der: bytes, chain_der: Sequence[bytes], now: datetime) -> tuple[x509.Certificate, ...]:
        """The certificates above the leaf, its issuer first, the anchor last. Raises `PathError`.

        Of several paths one that is valid at `now` is preferred (a renewed CA has the same name and key); where there
        is none, one that was or will be is returned, and its dates are the caller's to judge.
        """
        leaf, chain = _load(leaf_der), _chain(chain_der)
        self._timely.set_time(now.astimezone(UTC))
        try:
            return _path(self._timely, leaf, chain)
        except crypto.X509StoreContextError as error:
            if ways := self._ways(leaf, chain, self._anchors):
                return _first_valid(ways, leaf, now)
            if error.errors[0] not in {_NOT_YET_VALID, _EXPIRED}:
                raise PathError(_words(error)) from error
        try:
            return _path(self._at_any_time, leaf, chain)
        except crypto.X509StoreContextError as error:
            raise PathError(_words(error)) from error

    def constrain(
        self, leaf_der: bytes, chain_der: Sequence[bytes], path: tuple[x509.Certificate, ...]
    ) -> tuple[x509.Certificate, ...]:
        """The CAs whose name constraints count: `path`, and above its anchor those that are anchors as well.

        Raises `PathError` where the constraints of one of these forbid the leaf.
        """
        if self._top is None:
            return path
        leaf, chain = _load(leaf_der), _chain(chain_der)
        try:
            return _path(self._top, leaf, [*chain, *self._below])
        except crypto.X509StoreContextError as error:
            if ways := self._ways(leaf, chain, self._top_anchors, self._below_anchors):
                return _first_valid(ways, leaf, None)
            raise PathError(_words(error)) from error

    def _ways(
        self,
        leaf: crypto.X509,
        chain: list[crypto.X509],
        ends: Sequence[x509.Certificate],
        between: Sequence[x509.Certificate] = (),
    ) -> list[_Way]:
        """What to ask OpenSSL once more, a way at a time, after it may have taken the wrong one of CAs of one name.

        Nothing where no two CAs have one name and different keys: OpenSSL's first answer stands then.
        """
        keys = _keys_by_name(chain)
        for name, of_anchors in self._keys.items():
            keys.setdefault(name, set()).update(of_anchors)
        if all(len(of_name) < 2 for of_name in keys.values()):
            return []
        return _signed_ways(leaf.to_cryptography(), ends, [*between, *_with_readable_names(chain)])


def _issued_by_others(anchors: Sequence[x509.Certificate]) -> dict[x509.Certificate, x509.Certificate]:
    """The anchors that another anchor issued, each with that one. A root is issued by itself only."""
    by_name: dict[x509.Name, list[x509.Certificate]] = {}
    for anchor in anchors:
        by_name.setdefault(subject_of(anchor), []).append(anchor)
    found: dict[x509.Certificate, x509.Certificate] = {}
    for anchor in anchors:
        for issuer in by_name.get(issuer_of(anchor), ()) if issuer_of(anchor) != subject_of(anchor) else ():
            if has_issued(issuer, anchor) and (anchor not in found or is_constrained(issuer, if_unreadable=True)):
                found[anchor] = issuer
    return found


def _keys_by_name(authorities: Iterable[crypto.X509]) -> dict[int, set[bytes]]:
    """The keys of each name, by the hash of what OpenSSL takes for the same name: upper case is lower case to it."""
    keys: dict[int, set[bytes]] = {}
    for authority in authorities:
        try:
            key = crypto.dump_publickey(crypto.FILETYPE_ASN1, authority.get_pubkey())
        except crypto.Error:
            key = b""  # one that can't be read is another key
        keys.setdefault(authority.subject_name_hash(), set()).add(key)
    return keys


def _with_readable_names(chain: Sequence[crypto.X509]) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for loaded in chain:
        try:
            certificate = loaded.to_cryptography()
            hash((subject_of(certificate), issuer_of(certificate)))
        except UNREADABLE:
            continue  # it leads nowhere
        found.append(certificate)
    return found


def _signed_ways(
    leaf: x509.Certificate, ends: Sequence[x509.Certificate], between: Sequence[x509.Certificate]
) -> list[_Way]:
    """Every way up from the leaf to one of `ends` whose signatures hold, the shortest first. Raises `PathError`.

    The order of the arguments doesn't matter to what is found, nor to whether it is too much.
    """
    issuers = _signers(_named_issuers(leaf, ends, between), frozenset(ends))
    found: list[_Way] = []
    open_ways: list[_Way] = [(leaf,)]
    for way in open_ways:  # grows meanwhile
        for issuer in issuers.get(way[-1], ()):
            if issuer in ends:
                found.append((*way[1:], issuer))
            elif issuer not in way:
                open_ways.append((*way, issuer))
        if len(found) + len(open_ways) > MAX_WAYS:
            raise PathError(f"more than {MAX_WAYS} ways to CAs of one name and different keys")
    return sorted(found, key=lambda way: (len(way), [ca.public_bytes(Encoding.DER) for ca in way]))


def _named_issuers(
    leaf: x509.Certificate, ends: Sequence[x509.Certificate], between: Sequence[x509.Certificate]
) -> list[tuple[x509.Certificate, x509.Certificate]]:
    """Pairs of a certificate and one with its issuer's name, as far up from the leaf as names lead."""
    by_name: dict[x509.Name, dict[x509.Certificate, None]] = {}
    for certificate in (*ends, *between):
        by_name.setdefault(subject_of(certificate), {})[certificate] = None
    pairs: list[tuple[x509.Certificate, x509.Certificate]] = []
    reached = {leaf: None}
    waiting = [leaf]
    for certificate in waiting:  # grows meanwhile
        for issuer in by_name.get(issuer_of(certificate), ()):
            pairs.append((certificate, issuer))
            if issuer not in reached and issuer not in ends:
                reached[issuer] = None
                waiting.append(issuer)
    if len(pairs) > MAX_SIGNATURE_CHECKS:
        raise PathError(f"more than {MAX_SIGNATURE_CHECKS} signatures to check of CAs of one name and different keys")
    return pairs


def _signers(
    pairs: Sequence[tuple[x509.Certificate, x509.Certificate]], ends: frozenset[x509.Certificate]
) -> Mapping[x509.Certificate, list[x509.Certificate]]:
    """Of the pairs those whose signature holds. From the anchors down: so a client's own key, which may be one that
    costs a second to compute with, checks nothing.
    """
    signers: dict[x509.Certificate, list[x509.Certificate]] = {}
    known = list(ends)
    for issuer in known:  # grows meanwhile
        for certificate, named in pairs:
            if named == issuer and has_issued(issuer, certificate):
                if certificate not in signers:
                    known.append(certificate)
                signers.setdefault(certificate, []).append(issuer)
    return signers


def _first_valid(ways: Sequence[_Way], leaf: crypto.X509, now: datetime | None) -> _Way:
    """The first of these ways that OpenSSL finds valid: at `now`, and if there is none, at any time."""
    failures: list[crypto.X509StoreContextError] = []
    for moment in (None,) if now is None else (now, None):
        for way in ways:
            store = _store(way[-1:], crypto.X509StoreFlags.PARTIAL_CHAIN | (0 if moment else _NO_CHECK_TIME))
            if moment:
                store.set_time(moment.astimezone(UTC))
            try:
                return _path(store, leaf, [_load(ca.public_bytes(Encoding.DER)) for ca in way[:-1]])
            except crypto.X509StoreContextError as error:
                failures.append(error)
    raise PathError(_words(failures[-1])) from failures[-1]


def _chain(chain_der: Sequence[bytes]) -> list[crypto.X509]:
    """The client's other certificates, as far as they can be read."""
    return [certificate for der in chain_der[:MAX_CHAIN_CERTIFICATES] if (certificate := _load_or_none(der))]


def _store(anchors: Sequence[x509.Certificate], flags: int) -> crypto.X509Store:
    store = crypto.X509Store()
    store.set_flags(flags)
    for anchor in anchors:
        store.add_cert(_load(anchor.public_bytes(Encoding.DER)))
    return store


def _path(store: crypto.X509Store, leaf: crypto.X509, chain: list[crypto.X509]) -> tuple[x509.Certificate, ...]:
    verified = crypto.X509StoreContext(store, leaf, chain).get_verified_chain()
    return tuple(certificate.to_cryptography() for certificate in verified[1:])


def _load(der: bytes) -> crypto.X509:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error as error:
        raise PathError("OpenSSL cannot read the certificate") from error


def _load_or_none(der: bytes) -> crypto.X509 | None:
    """One of a client's extra certificates: what isn't readable leads nowhere, and nothing more."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        return None
    try:
        return _load(der)
    except PathError:
        return None


def _words(error: crypto.X509StoreContextError) -> str:
    code = error.errors[0]
    if code == _SELF_SIGNED_LEAF:
        return "a self-signed certificate that no CA of this site issued"
    if code in _NO_ISSUER:
        return "not issued by a CA that this site trusts, or the intermediate certificate was not sent"
    return f"no valid path to a trusted CA: {error}"
