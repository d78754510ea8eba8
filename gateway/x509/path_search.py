"""The search for certification paths: every way up from a certificate to one of the trust anchors.

What this module keeps true: every way that exists is found, or too much is refused with `PathError`; the order of the
certificates makes no difference. Names lead up to the anchors, and signatures are checked from there down: no key,
extension or name of a certificate is read before a CA of the site has signed it. So a stranger's certificates cost
about the same whatever they hold.

Sources: RFC 5280 section 6.1, RFC 4158.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from OpenSSL import crypto

from gateway.errors import GatewayError
from gateway.x509.fields import extensions_of
from gateway.x509.keys import has_signed, spki, units_of_check
from gateway.x509.names import MAX_CERTIFICATE_BYTES
from gateway.x509.raw_names import Comparable, comparable, count_extensions, raw_names
from gateway.x509.unreadable import UNREADABLE

# Certificates of a client's own chain that are looked at. Real paths have one or two intermediates; the bound is
# on the signatures that an unauthenticated client can make us check.
MAX_CHAIN_CERTIFICATES: Final = 10
# Signatures that are checked in one search. Two roots of one name with two intermediates of one name below make six;
# a client without any certificate of ours can ask for one of each that it sends, for each anchor of the name it gives.
MAX_SIGNATURE_CHECKS: Final = 64
# What the checks that fail may cost, in checks with P-256: 42 with P-256 or RSA, 6 with P-384. All checks fail for a
# client without a certificate of ours; this many take 3 ms, as long as a handshake. Three roots of one name with
# two intermediates of one name below need five.
MAX_FAILED_UNITS: Final = 42
# Ways from a leaf to an anchor that OpenSSL is asked about, unfinished ones counted. Only the holder of a CA's key can
# make many.
MAX_WAYS: Final = 32

# Where names lead one way only, OpenSSL is asked at once about certificates of so many bytes together: what they hold
# costs little then, and their signatures are checked once. A person's certificate and that of its issuer fit in.
MAX_UNSIGNED_BYTES: Final = 2 * 1024
# Extensions of a certificate. Real ones have about ten.
MAX_EXTENSIONS: Final = 64

FORGED: Final = "no valid path to a trusted CA: certificate signature failure"
TOO_MANY_FAILED: Final = "at most 42 wrong signatures are checked for one certificate (6 with P-384 keys)"
NOT_ISSUED: Final = "not issued by a CA that this site trusts, or the intermediate certificate was not sent"


class PathError(GatewayError):
    """No path to a trust anchor."""


class ForgedError(PathError):
    """There is a CA of the issuer's name, and it didn't sign; or not in a way that can be checked."""


class Node:
    """One certificate of a search. What is costly to read is read when it is asked for."""

    __slots__ = ("_authority", "_certificate", "_key", "_loaded", "der", "issuer", "subject")

    def __init__(self, der: bytes, certificate: x509.Certificate | None = None) -> None:
        """Raises `ValueError` for names that no real certificate has."""
        self.der = der
        names = raw_names(der)
        self.issuer, self.subject = comparable(names.issuer), comparable(names.subject)
        self._certificate = certificate
        self._key: Any = None
        self._loaded: crypto.X509 | None = None
        self._authority: tuple[Comparable, bytes] | None = None

    @property
    def certificate(self) -> x509.Certificate:
        """As `cryptography` reads it. Raises `UNREADABLE`."""
        if self._certificate is None:
            if len(self.der) > MAX_UNSIGNED_BYTES and count_extensions(self.der, MAX_EXTENSIONS) > MAX_EXTENSIONS:
                raise ValueError(f"more than {MAX_EXTENSIONS} extensions")
            self._certificate = x509.load_der_x509_certificate(self.der)
        return self._certificate

    @property
    def loaded(self) -> crypto.X509:
        """As OpenSSL reads it."""
        if self._loaded is None:
            self._loaded = crypto.load_certificate(crypto.FILETYPE_ASN1, self.der)
        return self._loaded

    @property
    def key(self) -> Any:
        """Its public key. Raises `UNREADABLE`."""
        if self._key is None:
            self._key = self.certificate.public_key()
        return self._key

    @property
    def authority(self) -> tuple[Comparable, bytes]:
        """The CA that it is a certificate of, which may have several: its name and key. Raises `UNREADABLE`."""
        if self._authority is None:
            self._authority = self.subject, spki(self.key)
        return self._authority

    @property
    def units_of_check(self) -> int:
        """What it costs to check a signature with its key."""
        try:
            return units_of_check(self.key)
        except UNREADABLE:
            return 0

    def has_issued(self, other: Node) -> bool:
        """True when this certificate's key made the other's signature."""
        try:
            return has_signed(self.key, other.certificate)
        except UNREADABLE:
            return False

    def is_no_ca(self) -> bool:
        """True when it says so; one that can't be read, or that is of X.509v1, doesn't."""
        try:
            return not extensions_of(self.certificate).get_extension_for_class(x509.BasicConstraints).value.ca
        except UNREADABLE:
            return False


Way = tuple[Node, ...]
BySubject = Mapping[Comparable, list[Node]]


def by_subject(nodes: Iterable[Node]) -> dict[Comparable, list[Node]]:
    """The certificates of each name, in an order that doesn't depend on theirs."""
    found: dict[Comparable, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.der):
        found.setdefault(node.subject, []).append(node)
    return found


def sent_by_client(chain_der: Sequence[bytes], known: frozenset[bytes]) -> dict[Comparable, list[Node]]:
    """The client's other certificates, each once; what isn't readable leads nowhere."""
    found: dict[bytes, Node] = {}
    for der in chain_der[:MAX_CHAIN_CERTIFICATES]:
        if len(der) <= MAX_CERTIFICATE_BYTES and der not in known:
            try:
                found[der] = Node(der)
            except ValueError:
                continue
    return by_subject(found.values())


def ways_to_anchors(leaf: Node, anchors: BySubject, sent: BySubject) -> list[Way]:
    """Every way up from the leaf to an anchor whose signatures hold, the shortest first. Raises `PathError`.

    CAs that certified one another make loops: no way leads through a CA twice, whichever of its certificates it is
    (RFC 4158 section 2.4.1). Where there is one way only, its signatures are for OpenSSL to check.
    """
    named, tops = _named(leaf, anchors, sent)
    if not tops:
        what = "a self-signed certificate that no CA of this site issued"
        raise PathError(what if leaf.issuer == leaf.subject else NOT_ISSUED)
    if only := _only_way(leaf, named, tops):
        return [only]
    signers = _signers(named, tops)
    found: list[Way] = []
    open_ways: list[Way] = [(leaf,)]
    for way in open_ways:  # grows meanwhile
        passed = {node.authority for node in way[1:]}
        for issuer in signers.get(way[-1], ()):
            if issuer.authority in passed:
                continue
            if issuer in tops:
                found.append((*way[1:], issuer))
            else:
                open_ways.append((*way, issuer))
        if len(found) + len(open_ways) > MAX_WAYS:
            raise PathError(f"more than {MAX_WAYS} paths to the CAs of this site")
    if not found:
        if any(issuer.is_no_ca() for issuer in signers if issuer in named[leaf]):
            raise PathError("no valid path to a trusted CA: the certificate's issuer is not a CA")
        raise ForgedError(FORGED)
    return sorted(found, key=in_order)


def in_order(way: Way) -> tuple[int, list[bytes]]:
    """By which ways are sorted: the shortest first."""
    return len(way), [ca.der for ca in way]


def _named(leaf: Node, anchors: BySubject, sent: BySubject) -> tuple[dict[Node, list[Node]], dict[Node, None]]:
    """By certificate the CAs of its issuer's name, as far up from the leaf as names lead; and the anchors of these."""
    named: dict[Node, list[Node]] = {}
    tops: dict[Node, None] = {}
    waiting = [leaf]
    for node in waiting:  # grows meanwhile
        if node not in named:
            ends = anchors.get(node.issuer, [])
            others = [issuer for issuer in sent.get(node.issuer, ()) if issuer is not node]
            named[node] = [*ends, *others]
            tops.update(dict.fromkeys(ends))
            waiting += others
    return named, tops


def _only_way(leaf: Node, named: Mapping[Node, list[Node]], tops: Mapping[Node, None]) -> Way | None:
    """Where names lead to a single CA each time, and the certificates are small."""
    way = [leaf]
    size = 0
    while way[-1] not in tops:
        size += len(way[-1].der)
        if size > MAX_UNSIGNED_BYTES or len(named[way[-1]]) != 1:
            return None
        way += named[way[-1]]
    return tuple(way[1:])


def _signers(named: Mapping[Node, list[Node]], tops: Mapping[Node, None]) -> dict[Node, list[Node]]:
    """By certificate the CAs that signed it. From the anchors down: so a client's own key, which may be one that
    costs a second to compute with, checks nothing. Raises `PathError`.
    """
    below: dict[Node, list[Node]] = {}
    for node, issuers in named.items():
        for issuer in issuers:
            below.setdefault(issuer, []).append(node)
    signers: dict[Node, list[Node]] = {}
    known = list(tops)
    checks = failed_units = 0
    for issuer in known:  # grows meanwhile
        if issuer not in tops and issuer.is_no_ca():
            continue
        checks += len(below.get(issuer, ()))
        if checks > MAX_SIGNATURE_CHECKS:
            raise PathError(f"more than {MAX_SIGNATURE_CHECKS} signatures to check, by CAs with the same name")
        for node in below.get(issuer, ()):
            if issuer.has_issued(node):
                if node not in signers:
                    known.append(node)
                signers.setdefault(node, []).append(issuer)
            else:
                failed_units += issuer.units_of_check
                if failed_units > MAX_FAILED_UNITS:
                    raise PathError(f"too many CAs have the issuer's name: {TOO_MANY_FAILED}")
    return signers
