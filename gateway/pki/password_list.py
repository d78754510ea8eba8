"""`passwords.csv`: which file opens with what. Mode 0600; a line is on the disk before its certificate is live.

No cell can begin a formula, whichever separator a spreadsheet splits the lines at: "Ann;=HYPERLINK(…)" is a name, and a
cell of its own where lists are separated by semicolons. An apostrophe stands before what would be a formula there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import UsageError
from gateway.pki.files import append_private, read, write_private
from gateway.pki.names import FORMULA_STARTS

COLUMNS: Final = ("email", "name", "file", "password", "serial")
# Where a cell begins for some spreadsheet, with spaces and quotes that it may drop, and the name's own apostrophes.
_BEGIN: Final = r"""((?:^|[,;\t])[\s"]*'*)"""
_FORMULA: Final = re.compile(rf"{_BEGIN}(?=[{re.escape(FORMULA_STARTS)}])")
_DISARMED: Final = re.compile(rf"{_BEGIN}'(?=[{re.escape(FORMULA_STARTS)}])")


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
    """The file. One import at a time writes it."""

    path: Path

    def lines(self) -> list[PasswordLine]:
        """What is in it; a last line that a crash cut off is left out. Raises `UsageError`."""
        if not self.path.exists():
            return []
        try:
            text = read(self.path).decode("utf-8-sig")
            rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
        except (ValueError, csv.Error) as error:
            raise UsageError(f"{self.path}: is no list of passwords", "Name another --out folder.") from error
        if rows[:1] not in ([], [list(COLUMNS)]):
            raise UsageError(f"{self.path}: is not a list that this program wrote", "Name another --out folder.")
        return [PasswordLine(*map(_armed, row)) for row in rows[1:] if len(row) == len(COLUMNS)]

    def begin(self, forget: Collection[str]) -> None:
        """Write the list anew without the certificates of these serials."""
        kept = [line for line in self.lines() if line.serial not in forget]
        write_private(self.path, b"".join(map(_bytes, (COLUMNS, *map(_row, kept)))))

    def add(self, line: PasswordLine) -> None:
        """Append a line."""
        append_private(self.path, _bytes(_row(line)))


def _row(line: PasswordLine) -> tuple[str, ...]:
    return tuple(map(_disarmed, (line.email, line.name, line.file, line.password, line.serial)))


def _disarmed(cell: str) -> str:
    return _FORMULA.sub(r"\1'", cell)


def _armed(cell: str) -> str:
    """What `_disarmed` was given: it adds one apostrophe to however many there are."""
    return _DISARMED.sub(r"\1", cell)


def _bytes(row: tuple[str, ...]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()
