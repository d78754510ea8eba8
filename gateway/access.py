"""What there is for this process's user, and what to run so that it may read a file or write to one.

The commands give rights to the user's own group, and to nobody else.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from shlex import quote


def user_name() -> str:
    """The effective user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def exists(path: Path) -> bool:
    """Whether there is anything. Unlike `Path.exists` it raises nothing where a folder on the way is closed."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def is_file(path: Path) -> bool:
    """Whether there is a regular file; the same."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def to_read(path: Path) -> str:
    """The remedy for a file that can't be read: the first folder on the way that is closed, or the file itself."""
    return f"let the user {user_name()} read it: {_opened(path, 'r')}"


def to_write(path: Path) -> str:
    """The remedy for a file or folder that can't be written to; the same for what is on the way there."""
    is_folder = os.path.isdir(path)  # noqa: PTH112 - False, and no error, where a folder on the way is closed
    return f"let the user {user_name()} write to it: {_opened(path, 'rwx' if is_folder else 'rw')}"


def _opened(path: Path, rights: str) -> str:
    target = path.absolute()
    for folder in reversed(target.parents):
        if not os.access(folder, os.X_OK):
            target, rights = folder, "x"
            break
    name = quote(str(target))
    return f"chgrp {quote(_group_name())} {name} && chmod g+{rights} {name}"


def _group_name() -> str:
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())
