"""`passwords.csv`: the password of each p12 file. Its mode is 0600, and a line is on the disk before its certificate is
live.

No cell can begin a formula, at whichever separator a spreadsheet splits the lines.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.pki import own_lists
from gateway.pki.files import append_private, write_private
from gateway.pki.user_files.cells import disarmed
from gateway.pki.user_files.dialect import PLAIN, Dialect

COLUMNS: Final = ("email", "name", "file", "password", "serial")


@dataclass(frozen=True, slots=True)
class PasswordLine:
    """The p12 file and password of one certificate."""

    email: str
    name: str
    file: str
    password: str = field(repr=False)
    serial: str = ""


@dataclass(frozen=True, slots=True)
class PasswordList:
    """The file. Only one import at a time writes it, in the dialect of the import's list of users."""

    path: Path
    dialect: Dialect = PLAIN

    def lines(self) -> list[PasswordLine]:
        """Its lines, without a last line that a crash cut off. Raises `UsageError`."""
        return [PasswordLine(*row) for row in own_lists.rows(self.path, COLUMNS, "list of passwords")]

    def begin(self, forget: Collection[str]) -> None:
        """Write the list again, without the certificates that have these serials."""
        kept = [line for line in self.lines() if line.serial not in forget]
        lines = map(self.dialect.line, (COLUMNS, *map(_row, kept)))
        write_private(self.path, b"".join((self.dialect.encoding.mark, *lines)))

    def add(self, line: PasswordLine) -> None:
        """Append a line."""
        append_private(self.path, self.dialect.line(_row(line)))


def _row(line: PasswordLine) -> tuple[str, ...]:
    return tuple(map(disarmed, (line.email, line.name, line.file, line.password, line.serial)))
