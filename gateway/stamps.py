"""A file's inode, size and times, to notice that it has changed."""

from __future__ import annotations

from pathlib import Path

# (inode, size, times of the last change of content and of status in nanoseconds), or None if there is no file. Programs
# can't set the last one, so it also shows that a file was replaced by one with an older date, as `cp -p` does.
Stamp = tuple[int, int, int, int] | None


def stamp_of(path: Path) -> Stamp:
    """The file's stamp now. Take it before reading, so that a change during the reading is noticed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
