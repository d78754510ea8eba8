"""What a list of users is read into: records with their lines, and mistakes with line and column."""

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
    """One record; inside quotes it may go over several lines."""

    line: int  # where it begins
    fields: list[str]
    uncalculated: Mapping[int, str] = field(
        default_factory=dict
    )  # index of a field → its cell: a formula without a result

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in any field."""
        return not self.uncalculated and not any(field.strip() for field in self.fields)


@dataclass(frozen=True, slots=True)
class Table:
    """A file: its records, blank ones too, how it is written, and what the admin should know of how it was read."""

    records: Iterator[Record]
    dialect: Dialect
    notes: tuple[str, ...] = ()


class UnreadableError(Exception):
    """The file can't be read on from here. Never leaves the modules that read lists of users."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = problems


def uncalculated(record: Record, place: int) -> Problem:
    """That the result of a formula is missing; it is shown as an empty cell, but is not one."""
    cause = f"the formula in cell {record.uncalculated[place]} has no result"
    return Problem(record.line, place + 1, cause, "open the workbook in Excel and save it, or import a CSV file")


def shown(text: str) -> str:
    """Foreign text for a message: short, and without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:_SHOWN_CHARACTERS])
