"""Counts the open connections of all workers in shared memory.

Keeps true: each worker writes only its own row and reads all rows, so no lock is needed; a new worker clears the row of
its predecessor. Counters are chosen by a keyed hash of the address: two addresses with the same counter are counted
together, which at worst refuses a little early, and an attacker can't choose an address with a given counter.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import Final

from gateway.facts import Address

# With 10,000 addresses at once about half share a counter with another one; limits are much higher than that.
BUCKETS: Final = 1 << 14
_BYTES: Final = 4


class SharedCounts:
    """Created before the fork; each worker then calls `take_row`."""

    __slots__ = ("_cells", "_key", "_memory", "_row", "_rows")

    def __init__(self, workers: int) -> None:
        self._rows = workers
        self._memory = mmap.mmap(-1, workers * (BUCKETS + 1) * _BYTES)
        self._cells = memoryview(self._memory).cast("I")
        self._key = os.urandom(16)
        self._row = 0

    def take_row(self, number: int) -> None:
        """Count in this row from now on, beginning with zero. `number` is below the number of workers."""
        self._row = start = number * (BUCKETS + 1)
        self._cells[start : start + BUCKETS + 1] = memoryview(bytes((BUCKETS + 1) * _BYTES)).cast("I")

    def count(self, address: Address | None, change: int) -> None:
        """Count a new (1) or closed (-1) connection; `address`: None if the client is not known."""
        cells, row = self._cells, self._row
        cells[row] += change
        if address is not None:
            cells[row + self._bucket(address)] += change

    def total(self) -> int:
        """The open connections of all workers."""
        return sum(self._cells[:: BUCKETS + 1])

    def of(self, address: Address) -> int:
        """The open connections from this address, and from those that share its counter."""
        return sum(self._cells[self._bucket(address) :: BUCKETS + 1])

    def _bucket(self, address: Address) -> int:
        digest = hashlib.blake2b(address.packed, digest_size=8, key=self._key).digest()
        return 1 + int.from_bytes(digest) % BUCKETS
