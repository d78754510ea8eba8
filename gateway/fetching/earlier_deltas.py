"""Delta lists that were fetched earlier and have changes that the newest delta list doesn't have.

Keeps true: a certificate that a delta list revoked stays revoked. The next delta list may start from a newer complete
list, which comes from another URL and may not have been fetched yet. So the earlier delta list stays stored behind the
newest one. It no longer counts when the complete list has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.fetching.list_store import readable_lists, signer_or_claim
from gateway.x509.revocation_list import RevocationList

# Daily delta lists of two months: by then the complete list that they change has ended. The oldest are dropped first.
MAX_EARLIER_DELTAS: Final = 64
# As PEM; a delta list of 1,000 entries has 50 KiB.
MAX_EARLIER_BYTES: Final = 4 * 1024 * 1024


def bytes_to_keep(
    shown: str, data: bytes, found: Sequence[RevocationList], stored: bytes | None, anchors: Sequence[x509.Certificate]
) -> bytes:
    """`data`, whose lists are `found`, with those delta lists of `stored` whose changes are not in `found`."""
    deltas = [old for old in readable_lists(stored, shown) if old.base_number is not None]
    if not deltas:
        return data
    new = [(entry, signer_or_claim(entry, anchors)) for entry in found]
    earlier = []
    for old in deltas:
        signer = signer_or_claim(old, anchors)
        if not any(by == signer and _contains(entry, old) for entry, by in new):
            earlier.append(old)
    kept = _within_bounds(sorted(earlier, key=_age, reverse=True))
    return b"".join([*(entry.crl.public_bytes(Encoding.PEM) for entry in found), *kept]) if kept else data


def newest_of_each_kind(lists: Iterable[RevocationList]) -> tuple[RevocationList, ...]:
    """The newest list of each CA, scope and kind."""
    newest: dict[object, RevocationList] = {}
    for entry in sorted(lists, key=_age):
        newest[signer_or_claim(entry, ()), entry.scope, entry.base_number is None] = entry
    return tuple(newest.values())


def _contains(new: RevocationList, old: RevocationList) -> bool:
    """True when every change of the delta list `old` is in `new`."""
    if new.base_number is None:
        is_as_new = new.number >= old.number if new.scope == old.scope else new.this_update >= old.this_update
        return new.scope.includes(old.scope) and is_as_new
    is_since_then = old.base_number is not None and new.base_number <= old.base_number
    return new.scope == old.scope and is_since_then and _age(new) >= _age(old)


def _age(entry: RevocationList) -> tuple[int, object]:
    return entry.number, entry.this_update


def _within_bounds(newest_first: Sequence[RevocationList]) -> list[bytes]:
    kept, size = [], 0
    for entry in newest_first[:MAX_EARLIER_DELTAS]:
        pem = entry.crl.public_bytes(Encoding.PEM)
        size += len(pem)
        if size > MAX_EARLIER_BYTES:
            break
        kept.append(pem)
    return kept
