"""Which files have changed on disk and are complete.

Keeps true: a change is reported when all changed files have stayed the same from one look to the next, so that half of
a certificate, or a certificate without its key, is not read; at the latest after `MAX_LOOKS` looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.stamps import Stamp, stamp_of

# After so many looks the files are read as they are, so that a file that is always being written delays no other.
MAX_LOOKS: Final = 5


class FileWatch:
    """Certificates and keys; see `revocation_lists.current` for revocation lists."""

    def __init__(self, stamps: Mapping[Path, Stamp]) -> None:
        """`stamps`: of the files, taken before they were read."""
        self._read = dict(stamps)
        self._seen: dict[Path, Stamp] = {}  # at the last look that found a change
        self._looks = 0  # since the first one that found this change

    def follow(self, stamps: Mapping[Path, Stamp]) -> None:
        """Watch these files, which were read again."""
        self._read = dict(stamps)
        self._looks = 0

    def look(self) -> tuple[Path, ...]:
        """The files that have changed; empty while one of them is still changing."""
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
