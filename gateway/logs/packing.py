"""Packs the rotated files of an access log, and deletes the oldest ones.

Keeps true: whenever this ends, by a signal or a power failure too, every line is in a complete file: the plain one, or
a packed one that has its name only when it is on the disk. A file that a process may still write to is not touched:
every writer holds a shared lock on the file it writes to, and a file is packed or deleted under the exclusive one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from gateway.access import exists
from gateway.atomic_write import flush_folder
from gateway.logs.rotated_names import PACKED_ENDINGS, UNFINISHED, RotatedNames
from gateway.logs.rotation import give_like, remedy_for

Format = Literal["zstd", "gzip", "none"]

BLOCK_BYTES: Final = 1024 * 1024  # between two looks at `goes_on`: packed in a few milliseconds
_ENDINGS: Final[dict[Format, str]] = {"zstd": ".zst", "gzip": ".gz", "none": ""}
_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 2  # of isal's 0 to 3
_NO_LOCKS: Final = "write compress: none in access_log.rotate, or put the log on a local disk"


class Interrupted(Exception):  # noqa: N818 - named for what happened
    """The gateway ends: what was begun is removed."""


@dataclass(slots=True)
class Outcome:
    """What was done, and what is left for another time."""

    packed: int = 0
    deleted: int = 0
    busy: int = 0  # files that a process still has open to write to
    problems: list[tuple[str, str]] = field(default_factory=list)  # (cause, remedy)


def pack_and_delete(path: Path, compress: Format, keep: int, goes_on: Callable[[], bool] = lambda: True) -> Outcome:
    """Pack the log's rotated files, and delete all but the newest `keep`. Raises `Interrupted`."""
    names, outcome = RotatedNames(path), Outcome()
    try:
        turns = names.existing()
    except OSError as error:
        outcome.problems.append((f"access log {path}: {error.strerror}", remedy_for(error, path.parent)))
        return outcome
    too_old = list(turns)[:-keep]
    for turn, endings in turns.items():
        plain = names.plain(turn)
        try:
            if turn in too_old:
                _delete(plain, endings, outcome)
            elif "" in endings and (compress != "none" or endings.intersection(PACKED_ENDINGS)):
                _pack(plain, endings, compress, outcome, goes_on)
        except OSError as error:
            what = "deleted" if turn in too_old else "packed"
            cause = f"access log {path}: {plain.name} is not {what}: {error.strerror}"
            outcome.problems.append((cause, _remedy(error, plain)))
    return outcome


def _remedy(error: OSError, plain: Path) -> str:
    if error.errno in {errno.ENOLCK, errno.ENOTSUP, errno.EBADF}:
        return _NO_LOCKS
    is_closed = exists(plain) and not os.access(plain, os.R_OK | os.W_OK)
    return remedy_for(error, plain if is_closed else plain.parent)


@contextlib.contextmanager
def _alone(plain: Path) -> Iterator[io.FileIO | None]:
    """The file, opened and locked; None if a process writes to it, or if it is gone. Raises `OSError`."""
    try:
        # Some filesystems give an exclusive lock only to a file that was opened to be written to.
        descriptor = os.open(plain, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:  # another gateway has packed or deleted it
        yield None
        return
    with io.FileIO(descriptor, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.path.samestat(plain.lstat(), os.fstat(descriptor))
        except (BlockingIOError, FileNotFoundError):
            is_there = False
        yield file if is_there else None


def _delete(plain: Path, endings: set[str], outcome: Outcome) -> None:
    if "" in endings:
        with _alone(plain) as file:
            if file is None:
                outcome.busy += 1
                return
            _unlink(plain)
    for ending in endings - {""}:
        _unlink(plain.with_name(plain.name + ending))
    outcome.deleted += 1


def _pack(plain: Path, endings: set[str], compress: Format, outcome: Outcome, goes_on: Callable[[], bool]) -> None:
    with _alone(plain) as file:
        if file is None:
            outcome.busy += 1
            return
        for ending in PACKED_ENDINGS:  # the lock is held, so no other process is writing them
            _unlink(plain.with_name(plain.name + ending + UNFINISHED))
        if not endings.intersection(PACKED_ENDINGS):  # else it was packed, and only its deletion is missing
            packed = plain.with_name(plain.name + _ENDINGS[compress])
            if not _write_packed(file, packed, compress, goes_on):
                outcome.busy += 1
                return
            outcome.packed += 1
        _unlink(plain)


def _write_packed(file: io.FileIO, packed: Path, compress: Format, goes_on: Callable[[], bool]) -> bool:
    """Write the packed file; False if lines were added meanwhile, by a process without a lock."""
    state = os.fstat(file.fileno())
    unfinished = packed.with_name(packed.name + UNFINISHED)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(unfinished, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as into:
            give_like(descriptor, packed, stat.S_IMODE(state.st_mode) & 0o777, state.st_gid)
            _copy(file, state.st_size, into, _packer(compress), goes_on)
            into.flush()
            os.utime(descriptor, ns=(state.st_atime_ns, state.st_mtime_ns))
            os.fsync(descriptor)
        if os.fstat(file.fileno()).st_size != state.st_size:
            unfinished.unlink()
            return False
        unfinished.rename(packed)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    flush_folder(packed.parent)  # before the plain file is deleted
    return True


def _copy(file: io.FileIO, size: int, into: io.BufferedWriter, packer: Any, goes_on: Callable[[], bool]) -> None:
    while block := file.read(min(BLOCK_BYTES, size)):
        size -= len(block)
        into.write(packer.compress(block))
        if not goes_on():
            raise Interrupted
    into.write(packer.flush())


def _packer(compress: Format) -> Any:
    if compress == "gzip":
        from isal import isal_zlib  # noqa: PLC0415 - only where files are packed so

        return isal_zlib.compressobj(_GZIP_LEVEL, wbits=31)
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - only where files are packed so
    else:
        from backports import zstd  # noqa: PLC0415 - the same
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return zstd.ZstdCompressor(options=options)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
