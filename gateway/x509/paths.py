"""Certification paths: from a client's certificate up to one of a site's own trust anchors, found by OpenSSL.

What this module keeps true: a path ends at a configured anchor, every signature on it was checked, and name
constraints, path lengths and unknown critical extensions were heeded. An intermediate that is an anchor ends the path,
but not the name constraints of an anchor above it. What OpenSSL's `X509Store` leaves open
(key sizes, digests, key usage, X.509v1 CAs, revocation) is not decided here.

Sources: RFC 5280 section 6; verify(1) of OpenSSL for what a partial chain is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from gateway.errors import GatewayError
from gateway.x509.names import MAX_CERTIFICATE_BYTES
from gateway.x509.unreadable import UNREADABLE

# Certificates of a client's own chain that are looked at. Real paths have one or two intermediates; the bound is
# on the signatures that an unauthenticated client can make us check.
MAX_CHAIN_CERTIFICATES: Final = 10

# X509_V_FLAG_NO_CHECK_TIME; pyOpenSSL has no name for it.
_NO_CHECK_TIME: Final = 0x200000
# X509_V_ERR_* of x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_SELF_SIGNED_LEAF: Final = 18
_NO_ISSUER: Final = frozenset({2, 19, 20, 21})


class PathError(GatewayError):
    """No path to a trust anchor."""


class Paths:
    """Builds paths to a fixed set of trust anchors; an intermediate that is configured is an anchor like a root."""

    __slots__ = ("_at_any_time", "_below", "_timely", "_top")

    def __init__(self, anchors: Sequence[x509.Certificate]) -> None:
        # Where an anchor with name constraints has issued another one: the anchors that none has issued, and the rest.
        self._top: crypto.X509Store | None = None
        self._below: list[crypto.X509] = []
        below = _issued_by_others(anchors)
        if any(_is_constrained(issuer) for issuer in below.values()):
            top = [anchor for anchor in anchors if anchor not in below]
            self._top = _store(top, crypto.X509StoreFlags.PARTIAL_CHAIN | _NO_CHECK_TIME)
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
        try:
            return _path(self._top, _load(leaf_der), [*_chain(chain_der), *self._below])
        except crypto.X509StoreContextError as error:
            raise PathError(_words(error)) from error


def _issued_by_others(anchors: Sequence[x509.Certificate]) -> dict[x509.Certificate, x509.Certificate]:
    """The anchors that another anchor issued, each with that one. A root is issued by itself only."""
    by_name: dict[x509.Name, list[x509.Certificate]] = {}
    for anchor in anchors:
        by_name.setdefault(anchor.subject, []).append(anchor)
    found: dict[x509.Certificate, x509.Certificate] = {}
    for anchor in anchors:
        for issuer in by_name.get(anchor.issuer, ()) if anchor.issuer != anchor.subject else ():
            if _has_issued(issuer, anchor) and (anchor not in found or _is_constrained(issuer)):
                found[anchor] = issuer
    return found


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except UNREADABLE:
        return False
    return True


def _is_constrained(certificate: x509.Certificate) -> bool:
    try:
        certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return False
    except UNREADABLE:
        return True  # what can't be read may be one
    return True


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
