"""Describes CAs of a site that have the same name: usual after a renewal, and useful to know when one is removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.x509.fields import subject_of
from gateway.x509.keys import are_equal, units_of_check
from gateway.x509.names import fingerprint_of
from gateway.x509.path_search import MAX_FAILED_UNITS, MAX_SIGNATURE_CHECKS, TOO_MANY_FAILED
from gateway.x509.raw_names import comparable, raw_names
from gateway.x509.unreadable import UNREADABLE


def cas_of_one_name(anchors: Iterable[x509.Certificate]) -> Iterator[str]:
    """A line for each name that several CAs have, with their fingerprints, dates and whether they have the same key."""
    for cas in _by_name(anchors):
        if len(cas) > 1:
            what = "the same key" if all(_have_one_key(cas[0], ca) for ca in cas[1:]) else "different keys"
            shown = ", ".join(map(_shown, cas))
            yield f"{len(cas)} CAs are named {_name(cas[0])} and have {what}: {shown}"


def too_many_of_one_name(anchors: Iterable[x509.Certificate]) -> Iterator[str]:
    """A line for each name that so many CAs have that certificates of some of them are refused."""
    for cas in _by_name(anchors):
        units = list(map(_units, cas))
        if len(cas) > MAX_SIGNATURE_CHECKS or sum(units) - min(units) > MAX_FAILED_UNITS:
            cause = f"{len(cas)} CAs are named {_name(cas[0])}, and {TOO_MANY_FAILED}: certificates of some are refused"
            yield f"{cause}; remove CAs that are no longer used from client_ca"


def _by_name(anchors: Iterable[x509.Certificate]) -> Iterator[list[x509.Certificate]]:
    by_name: dict[object, dict[bytes, x509.Certificate]] = {}
    for anchor in anchors:
        der = anchor.public_bytes(Encoding.DER)
        by_name.setdefault(comparable(raw_names(der).subject), {})[der] = anchor  # listed twice, it counts once
    return (list(same.values()) for same in by_name.values())


def _name(ca: x509.Certificate) -> str:
    return repr(subject_of(ca).rfc4514_string())


def _units(ca: x509.Certificate) -> int:
    try:
        return units_of_check(ca.public_key())
    except UNREADABLE:
        return 0


def _have_one_key(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        return are_equal(one.public_key(), other.public_key())
    except UNREADABLE:
        return False


def _shown(ca: x509.Certificate) -> str:
    return f"{fingerprint_of(ca)} ({ca.not_valid_before_utc:%Y-%m-%d} to {ca.not_valid_after_utc:%Y-%m-%d})"
