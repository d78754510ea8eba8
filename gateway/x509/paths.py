"""Certification paths: from a client's certificate up to the trust anchors of a site, each checked by OpenSSL.

What this module keeps true: a path ends at a configured anchor, every signature on it was checked, and name
constraints, path lengths and unknown critical extensions were heeded. An intermediate that is an anchor ends the path,
but not the name constraints of an anchor above it. Every path that exists is found, whatever CAs have one name, and in
whatever order they are configured or sent; for each, the paths on to the anchors above its end are told as well.
What OpenSSL's `X509Store` leaves open (dates, key sizes, digests, key usage, X.509v1 CAs, revocation) is not decided
here.

OpenSSL takes one CA of a name and keeps to it, so the ways up are searched here and OpenSSL is given one at a time.
Sources: RFC 5280 section 6, RFC 4158; verify(1) of OpenSSL for what a partial chain is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from gateway.errors import ConfigError
from gateway.x509.authorities import is_constrained, path_length
from gateway.x509.path_search import (
    FORGED,
    MAX_WAYS,
    NOT_ISSUED,
    BySubject,
    ForgedError,
    Node,
    PathError,
    Way,
    by_subject,
    in_order,
    sent_by_client,
    ways_to_anchors,
)
from gateway.x509.unreadable import UNREADABLE

# X509_V_FLAG_NO_CHECK_TIME; pyOpenSSL has no name for it.
_NO_CHECK_TIME: Final = 0x200000
# X509_V_ERR_* of x509_vfy.h.
_SIGNATURE_FAILURE: Final = 7
_SELF_SIGNED: Final = frozenset({18, 19})
_NO_ISSUER: Final = frozenset({2, 20, 21}) | _SELF_SIGNED


Path = tuple[x509.Certificate, ...]


class FoundPath(NamedTuple):
    """The CAs above a leaf, its issuer first."""

    path: Path  # to the first anchor
    constraining: Path  # those whose name constraints count: above the anchor those that are anchors as well
    further: tuple[Path, ...]  # the paths on to the anchors above, the shortest first


class _Failure(NamedTuple):
    kind: type[PathError]
    cause: str


class Paths:
    """Finds paths to a fixed set of trust anchors; an intermediate that is configured is an anchor like a root."""

    __slots__ = ("_above", "_anchors", "_ders", "_further", "_stores")

    def __init__(self, anchors: Sequence[x509.Certificate]) -> None:
        nodes: dict[bytes, Node] = {}  # an anchor that is listed twice is one
        for anchor in anchors:
            der = anchor.public_bytes(Encoding.DER)
            try:
                nodes[der] = Node(der, anchor)
            except ValueError as error:
                raise ConfigError(f"a CA certificate in client_ca has {error}", "remove it from client_ca") from error
        self._ders = frozenset(nodes)
        self._anchors = by_subject(nodes.values())
        self._stores: dict[Node, crypto.X509Store] = {}
        above = _above(self._anchors)
        self._above = {anchor: ways for anchor, ways in above.items() if not ways or _are_constrained(ways)}
        # The others are checked once, here: what depends on a leaf is the length of its path only.
        self._further = {
            anchor: self._valid_on(anchor, ways) for anchor, ways in above.items() if anchor not in self._above
        }

    def find(self, leaf_der: bytes, chain_der: Sequence[bytes]) -> Iterator[FoundPath]:
        """Each path to an anchor that is valid at some time, the shortest first. Raises `PathError` without any.

        They don't depend on the order of the chain or of the anchors.
        """
        try:
            leaf = Node(leaf_der)
        except ValueError as error:
            raise PathError(f"the certificate's names are not readable: {error}") from error
        failure: _Failure | None = None  # no exception: it would keep all frames, and with them the connection
        has_any = False
        for way in ways_to_anchors(
            leaf, self._anchors, sent_by_client([der for der in chain_der if der != leaf_der], self._ders)
        ):
            for whole in self._above.get(way[-1], ((),)):
                try:
                    is_valid = self._is_valid(leaf, way + whole)
                    path = tuple(ca.certificate for ca in way)
                except (crypto.X509StoreContextError, crypto.Error, *UNREADABLE) as error:
                    failure = failure or _failure(error)
                    continue
                if is_valid:
                    has_any = True
                    further = _starts(whole) if whole else self._further.get(way[-1], ())
                    yield FoundPath(
                        path,
                        path + tuple(ca.certificate for ca in whole),
                        tuple(path + tuple(ca.certificate for ca in on) for on in further if _may_go_on(way, on)),
                    )
        if not has_any:
            raise failure.kind(failure.cause) if failure else PathError("no valid path to a trusted CA")

    def _valid_on(self, anchor: Node, ways: Sequence[Way]) -> tuple[Way, ...]:
        """The ways on from an anchor to each one above that are valid at some time, the shortest first."""
        starts = set(chain.from_iterable(map(_starts, ways)))
        return tuple(sorted((way for way in starts if self._is_valid_on(anchor, way)), key=in_order))

    def _is_valid_on(self, anchor: Node, way: Way) -> bool:
        try:
            return self._is_valid(anchor, way)
        except (crypto.X509StoreContextError, crypto.Error, *UNREADABLE):
            return False

    def _is_valid(self, leaf: Node, way: Way) -> bool:
        """Whether OpenSSL goes this way too; it raises `X509StoreContextError` where that isn't valid."""
        if len({node.subject for node in (leaf, *way)}) == 1 + len(way):
            return self._is_valid_as_a_whole(leaf, way)
        try:
            return self._is_valid_as_a_whole(leaf, way)
        except crypto.X509StoreContextError as error:
            if error.errors[0] not in _SELF_SIGNED | {_SIGNATURE_FAILURE}:
                raise
        return self._is_valid_in_pairs(leaf, way)

    def _is_valid_in_pairs(self, leaf: Node, way: Way) -> bool:
        """For two CAs of one name on one way, where OpenSSL takes the anchor for the one that is further down.

        OpenSSL is asked about each certificate and its issuer. Path lengths, which concern more than two, are checked
        here; name constraints are not, so there may be none above the leaf's issuer.
        """
        if any(map(_is_constrained, way[1:])) or not _keeps_path_lengths(way):
            return False
        return all(self._is_valid_pair(child, issuer, way) for child, issuer in pairwise((leaf, *way)))

    def _is_valid_pair(self, child: Node, issuer: Node, way: Way) -> bool:
        """A CA's new key that its old one certified may name no other key. OpenSSL takes it for self-signed then, so
        the signature is checked here, and OpenSSL is asked about each of the two by itself.
        """
        if child.issuer == child.subject and (child in way or child.der in self._ders):
            return issuer.has_issued(child) and all(self._is_valid_as_a_whole(ca, ()) for ca in (child, issuer))
        return self._is_valid_as_a_whole(child, (issuer,))

    def _is_valid_as_a_whole(self, leaf: Node, way: Way) -> bool:
        end = way[-1] if way else leaf
        if (store := self._stores.get(end)) is None:
            store = _store(end)
            if end.der in self._ders:  # not the client's, of which there is no end
                self._stores[end] = store
        between = [ca.loaded for ca in way[:-1]]
        # Where it passes one over, the way without that one has been found as well.
        return len(crypto.X509StoreContext(store, leaf.loaded, between).get_verified_chain()) == 1 + len(way)


def _store(anchor: Node) -> crypto.X509Store:
    """With this one trust anchor, whose own issuer need not be known."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME)
    store.add_cert(anchor.loaded)
    return store


def _failure(error: Exception) -> _Failure:
    """What speaks against a way, in words."""
    if isinstance(error, crypto.Error):  # a list of its own words
        return _Failure(PathError, "OpenSSL can't read the certificate, or one above it")
    code = error.errors[0] if isinstance(error, crypto.X509StoreContextError) else None
    if code == _SIGNATURE_FAILURE:
        return _Failure(ForgedError, FORGED)
    return _Failure(PathError, NOT_ISSUED if code in _NO_ISSUER else f"no valid path to a trusted CA: {error}")


def _above(anchors: BySubject) -> dict[Node, list[Way]]:
    """Of anchors below others: every way on to the anchors that no other issued."""
    issuers: dict[Node, list[Node]] = {}
    for anchor in chain.from_iterable(anchors.values()):
        others = [issuer for issuer in anchors.get(anchor.issuer, ()) if issuer is not anchor]
        if others and anchor.issuer == anchor.subject and anchor.has_issued(anchor):
            continue  # a root is issued by itself only; a new key that the old one certified has a CA above it
        if found := [issuer for issuer in others if issuer.has_issued(anchor)]:
            issuers[anchor] = found
    return {anchor: _ways_on(anchor, issuers) for anchor in issuers}


def _starts(way: Way) -> list[Way]:
    return [way[:end] for end in range(1, 1 + len(way))]


def _are_constrained(ways: Sequence[Way]) -> bool:
    return any(map(_is_constrained, chain.from_iterable(ways)))


def _is_constrained(ca: Node) -> bool:
    return is_constrained(ca.certificate, if_unreadable=True)


def _keeps_path_lengths(way: Way) -> bool:
    """True where no CA has more below it than it allows; self-issued ones don't count (RFC 5280 section 4.2.1.9)."""
    below = 0
    for ca in way:
        limit = path_length(ca.certificate)
        if limit is not None and below > limit:
            return False
        below += ca.issuer != ca.subject
    return True


def _may_go_on(way: Way, further: Way) -> bool:
    try:
        return _keeps_path_lengths(way + further)
    except UNREADABLE:
        return False


def _ways_on(anchor: Node, issuers: Mapping[Node, list[Node]]) -> list[Way]:
    """None at all where there are more than `MAX_WAYS`: the anchor lets nobody in then."""
    found: list[Way] = []
    open_ways: list[Way] = [(anchor,)]
    for way in open_ways:  # grows meanwhile
        further = [issuer for issuer in issuers.get(way[-1], ()) if issuer not in way]
        open_ways += [(*way, issuer) for issuer in further]
        if not further:
            found.append(way[1:])
        if len(open_ways) > MAX_WAYS:
            return []
    return sorted(found, key=in_order)
