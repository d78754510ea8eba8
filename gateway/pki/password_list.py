"""`passwords.csv`: which file opens with what. Mode 0600; a line is on the disk before its certificate is live.

No cell can begin a formula, whichever separator a spreadsheet splits the lines at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.access import exists
from gateway.errors import UsageError
from gateway.pki.files import append_private, read, write_private
from gateway.pki.user_files.cells import armed, disarmed
from gateway.pki.user_files.dialect import DELIMITERS, PLAIN, Dialect, text_of

COLUMNS: Final = ("email", "name", "file", "password", "serial")


@dataclass(frozen=True, slots=True)
class PasswordLine:
    """One certificate's file and password."""

    email: str
    name: str
    file: str
    password: str = field(repr=False)
    serial: str = ""


@dataclass(frozen=True, slots=True)
class PasswordList:
    """The file. One import at a time writes it, in the dialect of its list of users."""

    path: Path
    dialect: Dialect = PLAIN

    def lines(self) -> list[PasswordLine]:
        """What is in it; a last line that a crash cut off is left out. Raises `UsageError`."""
        if not exists(self.path):
            return []
        try:
            text = text_of(read(self.path))
            # An earlier import's list of users may have been of another dialect.
            delimiter = next((sign for sign in DELIMITERS if text.startswith(f"{COLUMNS[0]}{sign}")), ",")
            whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
            rows = list(csv.reader(whole, delimiter=delimiter))
        except (ValueError, csv.Error) as error:
            raise UsageError(f"{self.path}: is no list of passwords", "Name another --out folder.") from error
        if rows[:1] not in ([], [list(COLUMNS)]):
            raise UsageError(f"{self.path}: is not a list that this program wrote", "Name another --out folder.")
        return [PasswordLine(*map(armed, row)) for row in rows[1:] if len(row) == len(COLUMNS)]

    def begin(self, forget: Collection[str]) -> None:
        """Write the list anew without the certificates of these serials."""
        kept = [line for line in self.lines() if line.serial not in forget]
        lines = map(self.dialect.line, (COLUMNS, *map(_row, kept)))
        write_private(self.path, b"".join((self.dialect.encoding.mark, *lines)))

    def add(self, line: PasswordLine) -> None:
        """Append a line."""
        append_private(self.path, self.dialect.line(_row(line)))


def _row(line: PasswordLine) -> tuple[str, ...]:
    return tuple(map(disarmed, (line.email, line.name, line.file, line.password, line.serial)))
