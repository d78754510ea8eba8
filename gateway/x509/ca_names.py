"""Which CAs a request for a client certificate names, so that clients offer certificates of these CAs.

Keeps true: every client can read the request. If the names are too long for that, the request names
no CA, and clients offer every certificate that they have (RFC 5246 section 7.4.4, RFC 8446 section 4.2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509

from gateway.x509.fields import subject_bytes

# Windows and Java read handshake messages of up to 32 KiB, OpenSSL and BoringSSL up to 100 KiB; the list of names
# itself can have 65,535 bytes. 1 KiB is left for the rest of the message, which has about 100 bytes.
MAX_CA_NAMES_BYTES: Final = 31 * 1024

_LENGTH_BYTES: Final = 2  # in front of each name


def named_in_request(anchors: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """One anchor for each subject; empty if the subjects are too long together."""
    distinct = _by_subject(anchors)
    return tuple(distinct.values()) if _size(distinct) <= MAX_CA_NAMES_BYTES else ()


def why_none_is_named(anchors: Sequence[x509.Certificate]) -> str | None:
    """A warning for the admin if the subjects are too long together; else None."""
    distinct = _by_subject(anchors)
    if (size := _size(distinct)) <= MAX_CA_NAMES_BYTES:
        return None
    return (
        f"the names of {len(distinct):,} CAs in client_ca have {size:,} bytes. Some clients can't read more than"
        f" {MAX_CA_NAMES_BYTES:,}, so the gateway sends no names, and clients offer every certificate that they have; "
        "remove CAs that are no longer used from client_ca"
    )


def _by_subject(anchors: Sequence[x509.Certificate]) -> dict[bytes, x509.Certificate]:
    distinct: dict[bytes, x509.Certificate] = {}
    for anchor in anchors:
        distinct.setdefault(subject_bytes(anchor), anchor)
    return distinct


def _size(subjects: dict[bytes, x509.Certificate]) -> int:
    return sum(_LENGTH_BYTES + len(subject) for subject in subjects)
