"""Files of the certificate desk: a secret file has mode 0600 before its first byte, no file is ever half written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from gateway.access import exists
from gateway.atomic_write import replace_file, write_and_close
from gateway.errors import OperationError, UsageError
from gateway.regular_files import TooLargeError, read_regular

PRIVATE_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
FOLDER_MODE: Final = 0o755
# Larger than any key, certificate or list of ten thousand users; files are read into memory as a whole.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024


def write_private(path: Path, data: bytes) -> None:
    """Write or replace a file with mode 0600. Raises `OperationError`."""
    _replace(path, data, PRIVATE_MODE)


def write_new_private(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600; only one of several processes can. Raises `OperationError` if it exists."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE))
    except OSError as error:
        raise _cannot("written", path, error) from error
    try:
        _replace(path, data, PRIVATE_MODE)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_public(path: Path, data: bytes) -> None:
    """Write or replace a file with mode 0644. Raises `OperationError`."""
    _replace(path, data, PUBLIC_MODE)


def append_private(path: Path, data: bytes) -> None:
    """Append to a file with mode 0600, and flush it to the disk. Raises `OperationError`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE)
        write_and_close(descriptor, data, PRIVATE_MODE)
    except OSError as error:
        raise _cannot("written", path, error) from error


def make_folder(path: Path, mode: int = FOLDER_MODE) -> None:
    """Make a folder and those above it; an existing folder keeps its mode. Raises `OperationError`."""
    try:
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            path.mkdir(mode=mode, exist_ok=True)
            path.chmod(mode)
    except OSError as error:
        raise _cannot("made", path, error) from error


def check_folder(path: Path) -> None:
    """Raises `OperationError` if files cannot be written to a folder. It may have to be made first."""
    found = path.absolute()
    try:
        while not exists(found):
            found = found.parent
        if not found.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(found, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _cannot("written to", path, error) from error


def check_place(path: Path) -> None:
    """Raises `OperationError` if a file cannot be written: its folder must exist."""
    if not exists(path.parent):
        raise _cannot("written", path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    check_folder(path.parent)


def read(path: Path) -> bytes:
    """The file's bytes, at most `MAX_FILE_BYTES`. Raises `UsageError`."""
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except TooLargeError as error:
        raise UsageError(f"{path}: is {error.strerror}", "Split it into several files.") from error
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}", "Name a file that exists and that this user can read."
        ) from error


def read_secret(path: Path) -> str:
    """The first line of a passphrase file, without its line end. Raises `UsageError`."""
    try:
        text = read(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        # `from None`: the cause's text quotes bytes of the secret.
        raise UsageError(f"{path}: is not UTF-8 text", "Write the passphrase on its first line.") from None
    secret = text.split("\n", 1)[0].rstrip("\r")
    if not secret:
        raise UsageError(f"{path}: the first line is empty", "Write the passphrase there.")
    return secret


def _replace(path: Path, data: bytes, mode: int) -> None:
    try:
        replace_file(path, data, mode)
    except OSError as error:
        raise _cannot("written", path, error) from error


def _cannot(verb: str, path: Path, error: OSError) -> OperationError:
    return OperationError(
        f"{path}: cannot be {verb}: {error.strerror}",
        "Check that the folder exists, that this user can write there, and that the disk is not full.",
    )
