"""Open connections of all workers, counted in memory that they share.

Keeps true: each worker writes its own row and reads all, so that no lock is needed; the row of a worker that died is
cleared by its successor. Addresses share counters by a keyed hash: two that meet in one are counted together, which
refuses a little early at worst, and nobody outside can choose to meet another.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import Final

from gateway.facts import Address

# With 10,000 addresses at once about half share a counter with another; limits are a hundred times that.
BUCKETS: Final = 1 << 14
_BYTES: Final = 4


class Tally:
    """Made before the fork; every worker then takes its own row."""

    __slots__ = ("_cells", "_key", "_memory", "_row", "_rows")

    def __init__(self, workers: int) -> None:
        self._rows = workers
        self._memory = mmap.mmap(-1, workers * (BUCKETS + 1) * _BYTES)
        self._cells = memoryview(self._memory).cast("I")
        self._key = os.urandom(16)
        self._row = 0

    def take_row(self, number: int) -> None:
        """Count in this row from now on, beginning with nothing. `number` is below the number of workers."""
        self._row = start = number * (BUCKETS + 1)
        self._cells[start : start + BUCKETS + 1] = memoryview(bytes((BUCKETS + 1) * _BYTES)).cast("I")

    def count(self, address: Address | None, change: int) -> None:
        """A connection is there (1) or gone (-1); `address` None where it is not known whose it is."""
        cells, row = self._cells, self._row
        cells[row] += change
        if address is not None:
            cells[row + self._bucket(address)] += change

    def total(self) -> int:
        """The open connections of all workers."""
        return sum(self._cells[:: BUCKETS + 1])

    def of(self, address: Address) -> int:
        """Those from this address, and from any that share its counter."""
        return sum(self._cells[self._bucket(address) :: BUCKETS + 1])

    def _bucket(self, address: Address) -> int:
        digest = hashlib.blake2b(address.packed, digest_size=8, key=self._key).digest()
        return 1 + int.from_bytes(digest) % BUCKETS
