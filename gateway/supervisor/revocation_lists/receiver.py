"""Receives revocation lists in a worker: puts their pieces together and reads them.

Keeps true: a delivery counts only when all its pieces have arrived; no file is opened.
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
    """Collects the pieces of one delivery; the first piece of another delivery drops them."""

    def __init__(self) -> None:
        self._delivery = 0
        self._count = 0
        self._pieces: _Pieces = {}

    def add(self, delivery: int, piece: int, place: tuple[str, int], data: str) -> None:
        """Add a piece of a list; `place`: its source and part. Raises `OperationError` if an earlier one is missing."""
        if piece == 0:
            self._delivery, self._count, self._pieces = delivery, 0, {}
        self._check(delivery, piece)
        self._pieces.setdefault(place, []).append(b64decode(data))
        self._count += 1

    def finish(self, delivery: int, pieces: int, parts: Mapping[str, int]) -> dict[str, tuple[bytes, ...]]:
        """The complete delivery: source → the bytes of its parts. Raises `OperationError` if a piece is missing."""
        if pieces == 0:
            self._delivery, self._count, self._pieces = delivery, 0, {}
        self._check(delivery, pieces)
        found, self._pieces = self._pieces, {}
        return {
            source: tuple(b"".join(found[source, number]) for number in range(count)) for source, count in parts.items()
        }

    def _check(self, delivery: int, piece: int) -> None:
        if (delivery, piece) != (self._delivery, self._count):
            raise OperationError("a piece of a revocation list is missing", "wait: the master sends it again")


def read_all(data: Mapping[str, tuple[bytes, ...]]) -> dict[str, KnownLists]:
    """Source → its lists. Raises `ConfigError`, although the master could read the same bytes."""
    return {
        source: KnownLists(tuple(entry for part in parts for entry in parse_lists(part, without_secrets(source))))
        for source, parts in data.items()
    }
