"""Which files this process's user can reach, and the commands that let it read or write them.

The commands give rights only to the user's own group.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from shlex import quote


def user_name() -> str:
    """The effective user's name, or its number if it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def exists(path: Path) -> bool:
    """Whether the path exists. Unlike `Path.exists`, this is False if a folder above may not be entered."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def is_file(path: Path) -> bool:
    """Whether the path is a regular file; also False if a folder above may not be entered."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def to_read(path: Path) -> str:
    """The remedy for a file that can't be read: opens the first folder above that is closed, or else the file."""
    return f"let the user {user_name()} read it: {_opened(path, 'r')}"


def to_write(path: Path) -> str:
    """The remedy for a file or folder that can't be written to: opens the first closed folder above, or else itself."""
    is_folder = os.path.isdir(path)  # noqa: PTH112 - False, and no error, if a folder above may not be entered
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
