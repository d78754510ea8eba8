"""Which files have changed on disk, and rest again.

Keeps true: a change is told once all changed files have stayed the same from one look to the next, so that half of a
certificate, or a certificate without its key, is not read; after `MAX_LOOKS` at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.stamps import Stamp, stamp_of

# Files that change between all looks are read as they are at this one: a file that is always written holds up no other.
MAX_LOOKS: Final = 5


class FileWatch:
    """Certificates and keys; see `list_state` for revocation lists."""

    def __init__(self, stamps: Mapping[Path, Stamp]) -> None:
        """`stamps`: from before the files were read."""
        self._read = dict(stamps)
        self._seen: dict[Path, Stamp] = {}  # at the last look that found a change
        self._looks = 0  # that have found one since

    def follow(self, stamps: Mapping[Path, Stamp]) -> None:
        """These files were read anew."""
        self._read = dict(stamps)
        self._looks = 0

    def look(self) -> tuple[Path, ...]:
        """The files that have changed and rest; none while any of them doesn't."""
        found = {path: stamp_of(path) for path in self._read}
        changed = tuple(path for path, stamp in found.items() if stamp != self._read[path])
        if not changed:
            self._seen, self._looks = {}, 0
            return ()
        self._looks += 1
        is_due = found == self._seen or self._looks >= MAX_LOOKS
        self._seen = found
        if not is_due:
            return ()
        self._read, self._looks = found, 0
        return changed
