"""Moves the new files from the folder where they were made to their place: all of them, or none.

Keeps true: no existing file is overwritten or changed, and if one file can't be put in place, those before it are
removed again. Until the last step, the target folder contains only a hidden folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from gateway.errors import OperationError, UsageError
from gateway.pki.files import FOLDER_MODE

_PREFIX: Final = ".gateway-init-"
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A hidden folder in `folder`, which is made if it is missing. Afterwards, folders that stayed empty are removed.

    Raises `OperationError`.
    """
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]  # raises nothing, unlike exists()
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    except OSError as error:
        _remove_empty(made)
        raise OperationError(
            f"{folder}: nothing can be written there: {error.strerror}", "Give -c FILE with a file in another folder."
        ) from error
    before = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        work.chmod(FOLDER_MODE)  # the check, as the gateway's user, reads the files here
        yield work
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        shutil.rmtree(work, ignore_errors=True)
        _remove_empty(made)


def _end(number: int, _: object) -> NoReturn:
    """Leave by an exception, so that everything is removed again; the exit code is a shell's for a signal."""
    raise SystemExit(128 + number)


def check_free(folder: Path, names: Sequence[str]) -> None:
    """Refuse to overwrite files; the error names all that exist. Raises `UsageError`."""
    taken = [str(folder / name) for name in names if os.path.lexists(folder / name)]
    if taken:
        raise UsageError(
            f"gateway init overwrites nothing, but {', '.join(taken)} {'exists' if len(taken) == 1 else 'exist'}",
            "Name a new folder, such as -c /etc/gateway-new/config.yaml, or move the old files away.",
        )


def place(work: Path, folder: Path, names: Sequence[str], shared: Sequence[str] = ()) -> None:
    """Move these files and folders from `work` to `folder`: first the `shared` ones, if they don't exist there yet.

    Raises `OperationError`, and then nothing has moved.
    """
    placed: list[Path] = []
    missing = [name for name in shared if not os.path.lexists(folder / name)]
    try:
        for name in (*missing, *names):
            _move(work / name, folder / name, placed)
    except BaseException as error:
        left = [str(path) for path in placed if not _is_removed(path)]
        if isinstance(error, OSError):
            cause = f"{folder / name}: cannot be written: {error.strerror}"
            remedy = f"Remove what was written: {' '.join(left)}" if left else "Correct this; nothing was written."
            raise OperationError(cause, remedy) from error
        raise


def _move(source: Path, target: Path, placed: list[Path]) -> None:
    if source.is_dir():
        target.mkdir()  # fails if anything exists there, even a dangling link
        placed.append(target)
    else:
        with target.open("x"):
            placed.append(target)
    source.replace(target)


def _is_removed(path: Path) -> bool:
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return not os.path.lexists(path)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it contains the new files
            folder.rmdir()
