"""Revocation lists as they come to a worker: pieces, put together and read.

Keeps true: nothing counts before all of it has come; no file is opened.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

from gateway.errors import OperationError
from gateway.redaction import without_secrets
from gateway.tls.trust import KnownLists
from gateway.x509.revocation_list import parse_lists

# (source, number of the part) → its pieces.
_Pieces = dict[tuple[str, int], list[bytes]]


class ListReceiver:
    """Collects one delivery; the next one begins anew."""

    def __init__(self) -> None:
        self._delivery = 0
        self._count = 0
        self._pieces: _Pieces = {}

    def add(self, delivery: int, piece: int, place: tuple[str, int], data: str) -> None:
        """A piece of a list; `place` is its source and the part of it. Raises `OperationError` for one out of turn."""
        if piece == 0:
            self._delivery, self._count, self._pieces = delivery, 0, {}
        self._check(delivery, piece)
        self._pieces.setdefault(place, []).append(b64decode(data))
        self._count += 1

    def finish(self, delivery: int, pieces: int, parts: Mapping[str, int]) -> dict[str, tuple[bytes, ...]]:
        """The delivery is whole: source → its files' bytes. Raises `OperationError` where it isn't."""
        if pieces == 0:
            self._delivery, self._count, self._pieces = delivery, 0, {}
        self._check(delivery, pieces)
        found, self._pieces = self._pieces, {}
        return {
            source: tuple(b"".join(found[source, number]) for number in range(count)) for source, count in parts.items()
        }

    def _check(self, delivery: int, piece: int) -> None:
        if (delivery, piece) != (self._delivery, self._count):
            raise OperationError("a piece of a revocation list is missing", "the master sends it again")


def read_all(data: Mapping[str, tuple[bytes, ...]]) -> dict[str, KnownLists]:
    """What these hold. Raises `ConfigError`, though the master has read them."""
    return {
        source: KnownLists(tuple(entry for part in parts for entry in parse_lists(part, without_secrets(source))))
        for source, parts in data.items()
    }
