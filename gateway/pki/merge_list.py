"""`mail-merge.csv`: a line for each kit in the folder, with its letter. It contains no passwords.

A run for other people or kinds adds to the list. A line stays while its files exist and its certificate is valid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from gateway.access import exists
from gateway.pki import own_lists
from gateway.pki.files import write_private
from gateway.pki.user_files.cells import disarmed
from gateway.pki.user_files.dialect import Dialect

COLUMNS: Final = ("email", "name", "kind", "kit", "letter", "serial")


@dataclass(frozen=True, slots=True)
class MergeLine:
    """One person's kit of one kind. `kit` and `letter` are paths in the folder."""

    email: str
    name: str
    kind: str
    kit: str
    letter: str
    serial: str


def lines(path: Path) -> list[MergeLine]:
    """The lines of earlier runs. Raises `UsageError` if the file is not a list of the desk."""
    return [MergeLine(*row) for row in own_lists.rows(path, COLUMNS, "list for a mail merge")]


def lasting(found: Iterable[MergeLine], folder: Path, serials: Collection[str]) -> list[MergeLine]:
    """The lines whose files are in the folder and whose certificates are among `serials`."""
    return [
        line for line in found if line.serial in serials and exists(folder / line.kit) and exists(folder / line.letter)
    ]


def write(path: Path, dialect: Dialect, earlier: Iterable[MergeLine], new: Iterable[MergeLine]) -> int:
    """Write the earlier lines, then the new ones. A new line replaces the earlier one of its kit.

    Returns how many earlier lines stayed.
    """
    latest = {line.kit: line for line in new}
    kept = [line for line in earlier if line.kit not in latest]
    cells = (tuple(map(disarmed, astuple(line))) for line in (*kept, *latest.values()))
    write_private(path, b"".join((dialect.encoding.mark, *map(dialect.line, (COLUMNS, *cells)))))
    return len(kept)
