"""Searches certification paths: every way from a certificate up to one of the trust anchors.

Keeps true: every existing way is found, or the search fails with `PathError` because there are too
many; the order of the certificates makes no difference. The search follows names up to the anchors, then checks
signatures from the anchors down: no key, extension or name of a certificate is read before a CA of the site is known to
have signed it. So the cost of a stranger's certificates hardly depends on their contents.

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

# Certificates of a client's chain that are read. Real paths have one or two intermediates; this limits how many
# signatures an unauthenticated client can make the gateway check.
MAX_CHAIN_CERTIFICATES: Final = 10
# Signatures that are checked in one search. Two roots of one name with two intermediates of one name below need six. A
# client without a certificate of the site can cause one check for each certificate that it sends and each anchor whose
# name it uses.
MAX_SIGNATURE_CHECKS: Final = 64
# The cost that failing checks may have, in checks with P-256: 42 with P-256 or RSA, 6 with P-384. For a client without
# a certificate of the site all checks fail; this many take 3 ms, as long as a handshake. Three roots of one name with
# two intermediates of one name below need five.
MAX_FAILED_UNITS: Final = 42
# Ways from a leaf to an anchor that OpenSSL checks, unfinished ones included. Only the holder of a CA's key can create
# many.
MAX_WAYS: Final = 32

# If names allow only one way and its certificates are no longer than this together, OpenSSL checks them at once: their
# contents cost little then, and each signature is checked once. A person's certificate and its issuer's are shorter.
MAX_UNSIGNED_BYTES: Final = 2 * 1024
# Extensions of a certificate. Real ones have about ten.
MAX_EXTENSIONS: Final = 64

FORGED: Final = "no valid path to a trusted CA: certificate signature failure"
TOO_MANY_FAILED: Final = "at most 42 wrong signatures are checked for one certificate (6 with P-384 keys)"
NOT_ISSUED: Final = "not issued by a CA that this site trusts, or the intermediate certificate was not sent"


class PathError(GatewayError):
    """No path to a trust anchor."""


class ForgedError(PathError):
    """A CA has the issuer's name but didn't sign the certificate, or the signature can't be checked."""


class Node:
    """One certificate of a search. Expensive parts are read only when needed."""

    __slots__ = ("_authority", "_certificate", "_key", "_loaded", "der", "issuer", "subject")

    def __init__(self, der: bytes, certificate: x509.Certificate | None = None) -> None:
        """Raises `ValueError` for names that are malformed or too long."""
        self.der = der
        names = raw_names(der)
        self.issuer, self.subject = comparable(names.issuer), comparable(names.subject)
        self._certificate = certificate
        self._key: Any = None
        self._loaded: crypto.X509 | None = None
        self._authority: tuple[Comparable, bytes] | None = None

    @property
    def certificate(self) -> x509.Certificate:
        """The `cryptography` object. Raises `UNREADABLE`."""
        if self._certificate is None:
            if len(self.der) > MAX_UNSIGNED_BYTES and count_extensions(self.der, MAX_EXTENSIONS) > MAX_EXTENSIONS:
                raise ValueError(f"more than {MAX_EXTENSIONS} extensions")
            self._certificate = x509.load_der_x509_certificate(self.der)
        return self._certificate

    @property
    def loaded(self) -> crypto.X509:
        """The pyOpenSSL object."""
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
        """Name and key: equal for several certificates of one CA. Raises `UNREADABLE`."""
        if self._authority is None:
            self._authority = self.subject, spki(self.key)
        return self._authority

    @property
    def units_of_check(self) -> int:
        """The cost of checking a signature with its key, see `keys.units_of_check`."""
        try:
            return units_of_check(self.key)
        except UNREADABLE:
            return 0

    def has_issued(self, other: Node) -> bool:
        """True if this certificate's key made the other's signature."""
        try:
            return has_signed(self.key, other.certificate)
        except UNREADABLE:
            return False

    def is_no_ca(self) -> bool:
        """True if basicConstraints says CA:FALSE; False if it can't be read or is X.509v1."""
        try:
            return not extensions_of(self.certificate).get_extension_for_class(x509.BasicConstraints).value.ca
        except UNREADABLE:
            return False


Way = tuple[Node, ...]
BySubject = Mapping[Comparable, list[Node]]


def by_subject(nodes: Iterable[Node]) -> dict[Comparable, list[Node]]:
    """The certificates of each name, in an order that doesn't depend on the input's."""
    found: dict[Comparable, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.der):
        found.setdefault(node.subject, []).append(node)
    return found


def sent_by_client(chain_der: Sequence[bytes], known: frozenset[bytes]) -> dict[Comparable, list[Node]]:
    """The client's other certificates by name, each once, without unreadable ones."""
    found: dict[bytes, Node] = {}
    for der in chain_der[:MAX_CHAIN_CERTIFICATES]:
        if len(der) <= MAX_CERTIFICATE_BYTES and der not in known:
            try:
                found[der] = Node(der)
            except ValueError:
                continue
    return by_subject(found.values())


def ways_to_anchors(leaf: Node, anchors: BySubject, sent: BySubject) -> list[Way]:
    """Every way up from the leaf to an anchor with valid signatures, the shortest first. Raises `PathError`.

    CAs that certified one another form loops: no way passes a CA twice, even with another certificate of that CA
    (RFC 4158 section 2.4.1). If there is only one way, OpenSSL checks its signatures.
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
    for way in open_ways:  # grows during the loop
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
    """Sort key for ways: the shortest first."""
    return len(way), [ca.der for ca in way]


def _named(leaf: Node, anchors: BySubject, sent: BySubject) -> tuple[dict[Node, list[Node]], dict[Node, None]]:
    """(for each certificate the CAs with its issuer's name, followed up from the leaf; the anchors among them)."""
    named: dict[Node, list[Node]] = {}
    tops: dict[Node, None] = {}
    waiting = [leaf]
    for node in waiting:  # grows during the loop
        if node not in named:
            ends = anchors.get(node.issuer, [])
            others = [issuer for issuer in sent.get(node.issuer, ()) if issuer is not node]
            named[node] = [*ends, *others]
            tops.update(dict.fromkeys(ends))
            waiting += others
    return named, tops


def _only_way(leaf: Node, named: Mapping[Node, list[Node]], tops: Mapping[Node, None]) -> Way | None:
    """The way, if at each step only one CA has the issuer's name and the certificates are small; else None."""
    way = [leaf]
    size = 0
    while way[-1] not in tops:
        size += len(way[-1].der)
        if size > MAX_UNSIGNED_BYTES or len(named[way[-1]]) != 1:
            return None
        way += named[way[-1]]
    return tuple(way[1:])


def _signers(named: Mapping[Node, list[Node]], tops: Mapping[Node, None]) -> dict[Node, list[Node]]:
    """For each certificate the CAs that signed it. Checked from the anchors down, so that no key of the client's
    choice is used, which could take a second to compute with. Raises `PathError`.
    """
    below: dict[Node, list[Node]] = {}
    for node, issuers in named.items():
        for issuer in issuers:
            below.setdefault(issuer, []).append(node)
    signers: dict[Node, list[Node]] = {}
    known = list(tops)
    checks = failed_units = 0
    for issuer in known:  # grows during the loop
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
