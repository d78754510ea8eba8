"""What can be seen of a file from outside, to notice that it has changed."""

from __future__ import annotations

from pathlib import Path

# (inode, size, times of the last change of content and of status in nanoseconds), or None where there is no file. The
# last of them can't be set: a file that is copied over another with its old date, as `cp -p` does, has changed.
Stamp = tuple[int, int, int, int] | None


def stamp_of(path: Path) -> Stamp:
    """The file's stamp now; take it before reading, so that what changes meanwhile is seen as changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
