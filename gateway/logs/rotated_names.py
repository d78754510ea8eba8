"""The names that the gateway gives to an access log's rotated files: `access-20261130T101112Z.jsonl.zst`.

Keeps true: names stand in the order of the rotations, also if two were in one second or the clock was set back; a file
with any other name is never found here, and so never packed or deleted.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from gateway.access import exists

PACKED_ENDINGS: Final = (".zst", ".gz")
UNFINISHED: Final = ".tmp"  # behind the ending of a file that is being packed
_ROTATED: Final = re.compile(r"-\d{8}T\d{6}Z(?:-\d+)?(?:\.[^.]*)?\Z", re.ASCII)


class Turn(NamedTuple):
    """One rotation: when it was, `20261130T101112Z`, and which one in that second."""

    stamp: str
    number: int = 1


class RotatedNames:
    """The rotated files of the access log at a path."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._stem, self._suffix = path.stem, path.suffix
        self._pattern = re.compile(
            rf"{re.escape(path.stem)}-(\d{{8}}T\d{{6}}Z)(?:-([2-9]|[1-9]\d{{1,8}}))?{re.escape(path.suffix)}"
            rf"((?:\.zst|\.gz)(?:\.tmp)?)?",
            re.ASCII,
        )

    def plain(self, turn: Turn) -> Path:
        """The file as it is before it is packed."""
        number = "" if turn.number == 1 else f"-{turn.number}"
        return self.folder / f"{self._stem}-{turn.stamp}{number}{self._suffix}"

    def of(self, name: str) -> tuple[Turn, str] | None:
        """(Which rotation, the ending: "" for a plain file) of a file with this name; None if it is no rotated file."""
        found = self._pattern.fullmatch(name)
        if found is None:
            return None
        return Turn(found[1], int(found[2] or 1)), found[3] or ""

    def existing(self) -> dict[Turn, set[str]]:
        """Each rotation of which there are files, the oldest first, and their endings. Raises `OSError`."""
        turns: dict[Turn, set[str]] = {}
        for path in self.folder.iterdir():
            named = self.of(path.name)
            if named is not None and stat.S_ISREG(path.lstat().st_mode):
                turns.setdefault(named[0], set()).add(named[1])
        return dict(sorted(turns.items()))

    def next(self, unix_seconds: float) -> Path:
        """The name for a file that is rotated now. No file has it, packed or not. Raises `OSError`."""
        turn = Turn(f"{datetime.fromtimestamp(unix_seconds, UTC):%Y%m%dT%H%M%SZ}")
        newest = max((named[0] for path in self.folder.iterdir() if (named := self.of(path.name))), default=None)
        if newest is not None and newest >= turn:
            turn = Turn(newest.stamp, newest.number + 1)
        return self.plain(turn)


def without_doubles(paths: Iterable[Path]) -> list[Path]:
    """These files, without rotated ones that are there packed too: the gateway has not deleted the plain one yet.

    A packed file gets its name when it is complete.
    """
    given = list(paths)
    there = set(given)
    return [path for path in given if there.isdisjoint(_packed(path))]


def or_packed(path: Path) -> Path:
    """The file, or the packed one if it is a rotated file that was packed since its name was read."""
    if not exists(path):
        for packed in _packed(path):
            if exists(packed):
                return packed
    return path


def _packed(path: Path) -> list[Path]:
    """What a rotated file is named when it is packed."""
    is_rotated = _ROTATED.search(path.name) is not None
    return [path.with_name(path.name + ending) for ending in PACKED_ENDINGS] if is_rotated else []
