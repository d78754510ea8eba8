"""Checks whether other users of the machine can replace a file that the configuration names.

Keeps true: a warning if every user can write the file, or a folder above it, because they could exchange
the file there. In a folder with the sticky bit, such as /tmp, only owners can do that.
"""

from __future__ import annotations

import stat
from pathlib import Path
from shlex import quote as for_shell

from gateway.config.problems import Place, Problems


class Permissions:
    """Warns of each file and folder once, at the first place in the configuration that names it."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._seen: set[tuple[int, int]] = set()

    def check(self, path: Path, place: Place) -> None:
        """Warn if every user can write `path`, the file behind a symbolic link, or one of their folders."""
        named = path.absolute()
        for each in (named.resolve(), named):
            for part in (each, *each.parents):
                self._check_one(part, place)

    def _check_one(self, path: Path, place: Place) -> None:
        try:
            found = path.stat()
        except OSError:  # reported when the file is read
            return
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # every user can write to /dev/zero
            return
        if not found.st_mode & stat.S_IWOTH or (found.st_dev, found.st_ino) in self._seen:
            return
        self._seen.add((found.st_dev, found.st_ino))
        remedy = f"run: chmod o-w {for_shell(str(path))}"
        if not stat.S_ISDIR(found.st_mode):
            self._problems.warning(place, f"every user of this machine can write {path}", remedy)
        elif not found.st_mode & stat.S_ISVTX:
            self._problems.warning(place, f"every user of this machine can write in the folder {path}", remedy)
