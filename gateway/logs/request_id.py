"""Makes request ids: unique across workers, machines and restarts; cheap; not secret.

An id has 80 random bits, chosen when the process starts, and a counter of 48 bits, in hex. Ids of one process differ in
the counter, ids of different processes in the prefix: with a million process starts the probability of two equal
prefixes is 1 in 2·10¹². A forked child chooses a new prefix (`os.register_at_fork`).
"""

from __future__ import annotations

import os
from itertools import count
from typing import Final

PREFIX_BYTES: Final = 10
COUNTER_HEX_DIGITS: Final = 12  # 2⁴⁸ requests: nine years at a million a second
_COUNTER: Final = f"%0{COUNTER_HEX_DIGITS}x"  # a fifth faster than format()


class RequestIds:
    """A source of request ids: 32 lower-case hex digits each."""

    __slots__ = ("_counter", "_prefix")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Choose a new prefix, as a forked process must."""
        self._prefix = os.urandom(PREFIX_BYTES).hex()
        self._counter = count()

    def next(self) -> str:
        """The next id."""
        return self._prefix + _COUNTER % next(self._counter)


_ids = RequestIds()
os.register_at_fork(after_in_child=_ids.restart)

new_request_id = _ids.next
