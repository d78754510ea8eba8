"""Reads challenge files below a listener's `acme_webroot`, each in a separate thread.

Keeps true: only a regular file in DIR/.well-known/acme-challenge is read. Symbolic links below DIR are not followed,
and a file with a second name (a hard link) is not read: both could lead to a key. Opening a FIFO does not block. A disk
that does not answer blocks a thread, but neither the loop nor the end of the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Final, Protocol

from gateway import access
from gateway.errors import RequestError
from gateway.facts import Reason

FOLDERS: Final = (".well-known", "acme-challenge")
# A key authorization is the token, a dot and 43 characters (RFC 8555, 8.1).
MAX_CHALLENGE_BYTES: Final = 4 * 1024
# Threads of one worker. A CA asks from a few places at a time, and a read takes microseconds.
MAX_READS_AT_ONCE: Final = 16

_FOLDER_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_SERVED: Final = f"only a regular file without links is served, of at most {MAX_CHALLENGE_BYTES:,} bytes"

_log = logging.getLogger("gateway.proxy")


class Asker(Protocol):
    """The connection that waits for a challenge."""

    def on_challenge(self, data: bytes | None) -> None:
        """Called with the file's content; None if the challenge does not exist."""


class Reading:
    """One file that is being read in a thread."""

    __slots__ = ("_asker",)

    def __init__(self, asker: Asker) -> None:
        self._asker: Asker | None = asker

    def drop(self) -> None:
        """Ignore the result: the connection has ended."""
        self._asker = None

    def tell(self, data: bytes | None) -> None:
        """Pass the result to the connection, unless it was dropped."""
        if self._asker is not None:
            self._asker.on_challenge(data)


class ChallengeReader:
    """Reads challenges for one worker; at most `MAX_READS_AT_ONCE` at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._count = 0  # threads that have not ended

    def read(self, webroot: Path, token: str, asker: Asker) -> Reading:
        """Start to read a challenge; `asker` gets the result later. Raises `RequestError` if too many are read."""
        if self._count >= MAX_READS_AT_ONCE:
            raise RequestError(Reason.NO_HEALTHY_UPSTREAM, f"{MAX_READS_AT_ONCE} challenges are already being read")
        reading = Reading(asker)
        # A daemon thread, so that the worker can end while a disk does not answer.
        thread = threading.Thread(target=self._work, args=(webroot, token, reading), name="acme-challenge", daemon=True)
        thread.start()
        self._count += 1
        return reading

    def _work(self, webroot: Path, token: str, reading: Reading) -> None:
        data: bytes | None = None
        cause: str | None = None
        try:
            data = read_challenge(webroot, token)
        except FileNotFoundError:
            pass  # clients can ask for any token
        except PermissionError:
            cause = f"Permission denied; {access.to_read(webroot.joinpath(*FOLDERS, token))}"
        except OSError as error:
            cause = f"{error.strerror}; {_SERVED}"
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._done, webroot, token, reading, data, cause)

    def _done(self, webroot: Path, token: str, reading: Reading, data: bytes | None, cause: str | None) -> None:
        self._count -= 1
        if cause is not None:
            _log.warning("the ACME challenge %s can't be read: %s", webroot.joinpath(*FOLDERS, token), cause)
        reading.tell(data)


def read_challenge(webroot: Path, token: str) -> bytes:
    """The content of the challenge's file. Raises `OSError`."""
    with contextlib.ExitStack() as opened:
        folder = _open(opened, webroot, _FOLDER_FLAGS, None)
        for name in FOLDERS:
            folder = _open(opened, name, _FOLDER_FLAGS | os.O_NOFOLLOW, folder)
        file = _open(opened, token, _FILE_FLAGS, folder)
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if found.st_nlink != 1:
            raise OSError(errno.EMLINK, "the file has a second name (a hard link)")
        data = os.read(file, MAX_CHALLENGE_BYTES + 1)
    if len(data) > MAX_CHALLENGE_BYTES:
        raise OSError(errno.EFBIG, f"more than {MAX_CHALLENGE_BYTES:,} bytes")
    return data


def _open(opened: contextlib.ExitStack, name: str | Path, flags: int, folder: int | None) -> int:
    descriptor = os.open(name, flags, dir_fd=folder)
    opened.callback(os.close, descriptor)
    return descriptor
