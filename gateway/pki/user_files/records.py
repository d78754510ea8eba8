"""The parts of a list of users: records with their lines, and mistakes with line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.pki.user_files.dialect import Dialect

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` counts the file's lines from 1, `column` the line's fields from 1."""

    line: int
    column: int
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record. Its quoted fields may have line breaks."""

    line: int  # its first line
    fields: list[str]
    # The index of each field that is a formula without a result or with the result 0, with the name of its cell.
    uncalculated: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_blank(self) -> bool:
        """Whether all fields are empty, and none is a formula."""
        return not self.uncalculated and not any(field.strip() for field in self.fields)


@dataclass(frozen=True, slots=True)
class Table:
    """A file: its records, also blank ones, its dialect, and notes for the admin about how it was read."""

    records: Iterator[Record]
    dialect: Dialect
    notes: tuple[str, ...] = ()


class UnreadableError(Exception):
    """The rest of the file can't be read. Only the modules that read lists of users see this error."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = problems


def uncalculated(record: Record, place: int) -> Problem:
    """The problem that a formula has no result. Its cell looks empty, but must not count as empty.

    Programs that don't calculate save 0 as the result (XlsxWriter), and Excel does for a reference to an empty cell.
    """
    if record.fields[place]:
        cause = f"the formula in cell {record.uncalculated[place]} has the result 0, or was never calculated"
        remedy = "open the workbook in Excel, write the value into the cell in place of the formula, and save it"
        return Problem(record.line, place + 1, cause, remedy)
    cause = f"the formula in cell {record.uncalculated[place]} has no result"
    return Problem(record.line, place + 1, cause, "open the workbook in Excel and save it, or import a CSV file")


def shown(text: str) -> str:
    """Text of a file for a message: shortened, and without control characters, which a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:_SHOWN_CHARACTERS])
