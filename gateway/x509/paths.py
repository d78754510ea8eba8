"""Finds certification paths from a client's certificate to the trust anchors of a site, each checked by OpenSSL.

Keeps true: a path ends at a configured anchor; all signatures, name constraints, path lengths and
critical extensions on it were checked. A path ends at an intermediate that is an anchor, but the name constraints of
anchors above it still apply. All existing paths are found, even if several CAs have one name, in whatever order they
are configured or sent; for each, the continuations to the anchors above its end are returned too. Dates, key sizes,
digests, key usage, X.509v1 CAs and revocation, which OpenSSL's `X509Store` doesn't decide, are not checked here.

OpenSSL tries only one CA of each name, so the ways are searched here and given to OpenSSL one at a time.
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
    constraining: Path  # the CAs whose name constraints apply: the path, and anchors above its end
    further: tuple[Path, ...]  # the paths continued to the anchors above, the shortest first


class _Failure(NamedTuple):
    kind: type[PathError]
    cause: str


class Paths:
    """Finds paths to a fixed set of trust anchors; a configured intermediate is an anchor like a root."""

    __slots__ = ("_above", "_anchors", "_ders", "_further", "_stores")

    def __init__(self, anchors: Sequence[x509.Certificate]) -> None:
        nodes: dict[bytes, Node] = {}  # an anchor that is listed twice counts once
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
        # The others are checked once, here: only the path length depends on the leaf.
        self._further = {
            anchor: self._valid_on(anchor, ways) for anchor, ways in above.items() if anchor not in self._above
        }

    def find(self, leaf_der: bytes, chain_der: Sequence[bytes]) -> Iterator[FoundPath]:
        """Each path to an anchor that is valid at some time, the shortest first. Raises `PathError` if there is none.

        The result doesn't depend on the order of the chain or of the anchors.
        """
        try:
            leaf = Node(leaf_der)
        except ValueError as error:
            raise PathError(f"the certificate's names are not readable: {error}") from error
        failure: _Failure | None = None  # not an exception, which would keep all frames and so the connection
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
        """The ways from an anchor to each anchor above that are valid at some time, the shortest first."""
        starts = set(chain.from_iterable(map(_starts, ways)))
        return tuple(sorted((way for way in starts if self._is_valid_on(anchor, way)), key=in_order))

    def _is_valid_on(self, anchor: Node, way: Way) -> bool:
        try:
            return self._is_valid(anchor, way)
        except (crypto.X509StoreContextError, crypto.Error, *UNREADABLE):
            return False

    def _is_valid(self, leaf: Node, way: Way) -> bool:
        """Whether OpenSSL verifies this way. Raises `X509StoreContextError` if it isn't valid."""
        if len({node.subject for node in (leaf, *way)}) == 1 + len(way):
            return self._is_valid_as_a_whole(leaf, way)
        try:
            return self._is_valid_as_a_whole(leaf, way)
        except crypto.X509StoreContextError as error:
            if error.errors[0] not in _SELF_SIGNED | {_SIGNATURE_FAILURE}:
                raise
        return self._is_valid_in_pairs(leaf, way)

    def _is_valid_in_pairs(self, leaf: Node, way: Way) -> bool:
        """For a way with two CAs of one name, where OpenSSL mistakes the anchor for the CA further down.

        OpenSSL checks each certificate with its issuer. Path lengths, which concern more than two certificates, are
        checked here. Name constraints are not, so False if a CA above the leaf's issuer has any.
        """
        if any(map(_is_constrained, way[1:])) or not _keeps_path_lengths(way):
            return False
        return all(self._is_valid_pair(child, issuer, way) for child, issuer in pairwise((leaf, *way)))

    def _is_valid_pair(self, child: Node, issuer: Node, way: Way) -> bool:
        """A CA's new key that its old key certified may lack an authority key identifier. OpenSSL then takes the
        certificate for self-signed, so the signature is checked here, and OpenSSL checks each of the two alone.
        """
        if child.issuer == child.subject and (child in way or child.der in self._ders):
            return issuer.has_issued(child) and all(self._is_valid_as_a_whole(ca, ()) for ca in (child, issuer))
        return self._is_valid_as_a_whole(child, (issuer,))

    def _is_valid_as_a_whole(self, leaf: Node, way: Way) -> bool:
        end = way[-1] if way else leaf
        if (store := self._stores.get(end)) is None:
            store = _store(end)
            if end.der in self._ders:  # not for clients' certificates, which are unlimited
                self._stores[end] = store
        between = [ca.loaded for ca in way[:-1]]
        # If OpenSSL skips a CA, the way without that CA was found too.
        return len(crypto.X509StoreContext(store, leaf.loaded, between).get_verified_chain()) == 1 + len(way)


def _store(anchor: Node) -> crypto.X509Store:
    """A store with this trust anchor only; the anchor's issuer need not be known."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME)
    store.add_cert(anchor.loaded)
    return store


def _failure(error: Exception) -> _Failure:
    """Why a way isn't valid, in words."""
    if isinstance(error, crypto.Error):  # its text is a list of OpenSSL's codes
        return _Failure(PathError, "OpenSSL can't read the certificate, or one above it")
    code = error.errors[0] if isinstance(error, crypto.X509StoreContextError) else None
    if code == _SIGNATURE_FAILURE:
        return _Failure(ForgedError, FORGED)
    return _Failure(PathError, NOT_ISSUED if code in _NO_ISSUER else f"no valid path to a trusted CA: {error}")


def _above(anchors: BySubject) -> dict[Node, list[Way]]:
    """For each anchor that another one issued: every way to the topmost anchors."""
    issuers: dict[Node, list[Node]] = {}
    for anchor in chain.from_iterable(anchors.values()):
        others = [issuer for issuer in anchors.get(anchor.issuer, ()) if issuer is not anchor]
        if others and anchor.issuer == anchor.subject and anchor.has_issued(anchor):
            continue  # a root; but a new key that the CA's old key certified has a CA above it
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
    """True if no CA has more CAs below it than it allows; self-issued ones don't count (RFC 5280 section 4.2.1.9)."""
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
    """The ways to the topmost anchors; empty if more than `MAX_WAYS`: the anchor is then not usable."""
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
