"""From a folder in which everything was made to where it belongs: all of it, or nothing.

Keeps true: no file that exists is overwritten or changed, and what was put in place is taken away again where the
next one can't be. Until the last step the folder that people look at has nothing of it but a hidden folder.
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
    """A hidden folder in `folder`, which is made where it is missing. Afterwards nothing is left that is empty.

    Raises `OperationError`.
    """
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]  # raises nothing, unlike exists()
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    except OSError as error:
        _remove_empty(made)
        raise OperationError(
            f"{folder}: nothing can be written there: {error.strerror}", "Name another folder with -c."
        ) from error
    before = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        work.chmod(FOLDER_MODE)  # the gateway's user looks at the files before they are in place
        yield work
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        shutil.rmtree(work, ignore_errors=True)
        _remove_empty(made)


def _end(number: int, _: object) -> NoReturn:
    """Leave by an exception, so that everything is taken back; shells know a signal by this code."""
    raise SystemExit(128 + number)


def check_free(folder: Path, names: Sequence[str]) -> None:
    """Refuse to write over anything, with all that is in the way. Raises `UsageError`."""
    taken = [str(folder / name) for name in names if os.path.lexists(folder / name)]
    if taken:
        raise UsageError(
            f"gateway init overwrites nothing, and {', '.join(taken)} {'exists' if len(taken) == 1 else 'exist'}",
            "Name a new folder, such as -c /etc/gateway-new/config.yaml, or move the old files away.",
        )


def place(work: Path, folder: Path, names: Sequence[str], shared: Sequence[str] = ()) -> None:
    """Move these files and folders from one to the other; the `shared` ones, first, only where there is nothing yet.

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
            remedy = f"Remove what was written: {' '.join(left)}" if left else "Nothing was written."
            raise OperationError(cause, remedy) from error
        raise


def _move(source: Path, target: Path, placed: list[Path]) -> None:
    if source.is_dir():
        target.mkdir()  # fails where there is anything, a dangling link too
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
        with suppress(OSError):  # something is in it: what was asked for
            folder.rmdir()
