"""Files that are read whole: regular ones, of a bounded size.

Keeps true: reading ends. A FIFO would wait for a writer, a device may have no end, and a folder has no bytes: none of
these is read. A symbolic link to a regular file is.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """A FIFO, socket or device."""


class TooLargeError(OSError):
    """More bytes than are read."""


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The file's bytes. Raises `OSError`, also for one that isn't regular or has more than `max_bytes`."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file name") from error
    try:
        _check_regular(os.fstat(descriptor).st_mode)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise TooLargeError(errno.EFBIG, f"larger than {max_bytes:,} bytes")
    return data


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise NotRegularError(errno.EINVAL, "not a regular file")
