"""Reads whole files: regular ones, of a bounded size.

Keeps true: reading ends. FIFOs (which would wait for a writer), devices (which may have no end) and folders are
refused. A symbolic link to a regular file is read, and so is a pipe that the process was started with: `<(command)`
in a shell, or `/dev/stdin`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

_GIVEN: Final = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/[0-9]+")


class NotRegularError(OSError):
    """A FIFO, socket or device."""


class TooLargeError(OSError):
    """A file with more bytes than the limit."""


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The file's bytes. Raises `OSError`, also if the file isn't regular or has more than `max_bytes`."""
    is_given = _GIVEN.fullmatch(os.fspath(path)) is not None
    # Without O_NONBLOCK, opening a FIFO would wait for a writer. A pipe that was given has one.
    flags = os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | (0 if is_given else os.O_NONBLOCK)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:
        raise OSError(errno.EINVAL, "not a file name") from error
    try:
        _check_regular(os.fstat(descriptor).st_mode, may_be_pipe=is_given)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise TooLargeError(errno.EFBIG, f"larger than {max_bytes:,} bytes")
    return data


def _check_regular(mode: int, *, may_be_pipe: bool) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(mode) or (may_be_pipe and stat.S_ISFIFO(mode))):
        raise NotRegularError(errno.EINVAL, "not a regular file")
