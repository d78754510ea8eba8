"""Writes whole files: a reader sees the old file or the new one, never a part, and a power cut loses neither.

The new file is written under another name in the same folder, flushed to the disk and renamed. Its mode is set on the
open descriptor, so it does not depend on the umask, and until then only its owner can read it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

_FIRST_MODE: Final = 0o600


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write or replace a file. Raises `OSError`; then the old file stays, and nothing is left beside it."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FIRST_MODE)
    try:
        write_and_close(descriptor, data, mode)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    flush_folder(path.parent)


def write_and_close(descriptor: int, data: bytes, mode: int) -> None:
    """Write to the end of an open file, flush it to the disk and close it. Raises `OSError`."""
    with os.fdopen(descriptor, "ab") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush a folder to the disk: a new name in it survives a power cut only from then on. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
