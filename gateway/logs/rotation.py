"""Rotates the access log: decides when, and renames the file. The writers then open a new one.

Keeps true: no file is overwritten; what can't be rotated stays as it is, and lines are appended to it. Of two gateways
that write to one file, one rotates it. The new file has the mode and the group of the old one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import access
from gateway.errors import OperationError
from gateway.logs.entry import parse
from gateway.logs.rotated_names import RotatedNames

FIRST_LINE_BYTES: Final = 256 * 1024  # in which the first line that parses is looked for; a line may be as long

_log = logging.getLogger("gateway.access_log")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CLOSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ELSEWHERE: Final = "name a file on a local disk in access_log.path, in a folder that the gateway's user can write to"


@dataclass(slots=True)
class _Begun:
    """When the file with this identity got its first line, in Unix seconds."""

    identity: tuple[int, int]
    unix_seconds: float


class Rotation:
    """The rotation of one log, by its size in bytes and its age."""

    def __init__(self, path: Path, size_bytes: int, age_seconds: float) -> None:
        self._path = path
        self._names = RotatedNames(path)
        self._size_bytes = size_bytes
        self._age_seconds = age_seconds
        self._begun: _Begun | None = None
        self._empty_at = float("-inf")  # when the file was last seen without a line

    def due(self, now: float) -> os.stat_result | None:
        """The file's state if it is to be rotated now, in Unix seconds. Raises `OperationError`."""
        try:
            state = self._path.lstat()
            if not stat.S_ISREG(state.st_mode):
                raise OperationError(
                    f"access log {self._path}: not rotated: it is not a regular file",
                    "name the file itself in access_log.path, or remove access_log.rotate",
                )
            if not state.st_size:
                self._empty_at = now
                return None
            is_due = state.st_size >= self._size_bytes or now - self._begun_at(state, now) >= self._age_seconds
        except FileNotFoundError:
            return None  # the writers make a new one
        except OSError as error:
            raise _failure(self._path, error) from error
        return state if is_due else None

    def rotate(self, state: os.stat_result, now: float) -> Path | None:
        """Rename the file that `due` has found; returns its new name. Raises `OperationError`.

        None: another gateway has rotated it, or is about to.
        """
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return self._rename(folder, state, now)
            finally:
                os.close(folder)  # and its lock
        except OSError as error:
            raise _failure(self._path, error) from error

    def _rename(self, folder: int, state: os.stat_result, now: float) -> Path | None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError:
            pass  # this filesystem locks no folders: only a second gateway would need it
        try:
            is_same = os.path.samestat(self._path.lstat(), state)
        except FileNotFoundError:
            is_same = False
        if not is_same:
            return None
        target = self._names.next(now)
        self._path.rename(target)
        try:
            _create_like(self._path, state)
        except OSError:
            with contextlib.suppress(OSError):
                os.link(target, self._path)  # unlike a rename, this replaces no file that is there by now
                target.unlink()
            raise
        return target

    def _begun_at(self, state: os.stat_result, now: float) -> float:
        """When the file got its first line. That line is in the file, so the answer survives a restart."""
        identity = state.st_dev, state.st_ino
        if self._begun is None or self._begun.identity != identity:
            written = _first_written(self._path)
            # The combined format doesn't say how long an exchange took. A clock that was wrong may have made the line.
            begun = now if written is None else min(now, max(written, self._empty_at))
            self._begun = _Begun(identity, begun)
        return self._begun.unix_seconds


def _first_written(path: Path) -> float | None:
    """When the first line that parses was written; None if there is none near the file's beginning."""
    with path.open("rb") as file:
        head = file.read(FIRST_LINE_BYTES)
    for line in head[: head.rfind(b"\n") + 1].split(b"\n"):
        entry = parse(line)
        if entry is not None:
            return entry.written
    return None


def _create_like(path: Path, old: os.stat_result) -> None:
    """Create the new file with the mode and the group of the old one."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        give_like(descriptor, path, mode, old.st_gid)
    finally:
        os.close(descriptor)


def give_like(descriptor: int, path: Path, mode: int, group: int) -> None:
    """Give a new file this mode and group. If the group can't be given, the file is closed to every group."""
    if os.fstat(descriptor).st_gid != group:
        try:
            os.fchown(descriptor, -1, group)
        except OSError as error:
            mode &= ~0o070
            _log.warning(
                "access log %s: the group %d of the old file can't be given: %s; let new files of this folder have it: "
                "chgrp %d %s && chmod g+s %s",
                *(path, group, error.strerror, group, path.parent, path.parent),
            )
    os.fchmod(descriptor, mode)


def remedy_for(error: OSError, target: Path) -> str:
    """What to do if a file of the log, or one in its folder, can't be written; `target` is that file or folder."""
    if error.errno in _FULL:
        return "free disk space"
    return access.to_write(target) if error.errno in _CLOSED else _ELSEWHERE


def _failure(path: Path, error: OSError) -> OperationError:
    cause = f"access log {path}: not rotated: {error.strerror}, so lines are still appended to it"
    return OperationError(cause, remedy_for(error, path.parent))
