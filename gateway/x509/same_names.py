"""CAs of one name among those of a site, in words: usual after a renewal, and worth knowing when one is taken away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.x509.fields import subject_of
from gateway.x509.keys import are_equal
from gateway.x509.names import fingerprint_of
from gateway.x509.raw_names import comparable, raw_names
from gateway.x509.unreadable import UNREADABLE


def cas_of_one_name(anchors: Iterable[x509.Certificate]) -> Iterator[str]:
    """A line for each name that several CAs have: their fingerprints, dates and whether their keys are the same."""
    by_name: dict[object, dict[bytes, x509.Certificate]] = {}
    for anchor in anchors:
        der = anchor.public_bytes(Encoding.DER)
        by_name.setdefault(comparable(raw_names(der).subject), {})[der] = anchor  # one that is listed twice is one
    for same in by_name.values():
        cas = list(same.values())
        if len(cas) > 1:
            what = "the same key" if all(_have_one_key(cas[0], ca) for ca in cas[1:]) else "different keys"
            shown = ", ".join(map(_shown, cas))
            yield f"{len(cas)} CAs are named {subject_of(cas[0]).rfc4514_string()!r} and have {what}: {shown}"


def _have_one_key(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        return are_equal(one.public_key(), other.public_key())
    except UNREADABLE:
        return False


def _shown(ca: x509.Certificate) -> str:
    return f"{fingerprint_of(ca)} ({ca.not_valid_before_utc:%Y-%m-%d} to {ca.not_valid_after_utc:%Y-%m-%d})"
