"""CSV from bytes to records with their lines: UTF-8 with or without BOM; comma, semicolon or tab; RFC 4180 quotes.

What can't be read is a `CsvProblem` with line and column, never an exception of the `csv` module.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_FIELD_CHARACTERS: Final = 1_000  # every field is a name, an address or a number
_DELIMITERS: Final = ",;\t"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # tab and line end aside


@dataclass(frozen=True, slots=True)
class CsvProblem:
    """One mistake. `line` counts the file's lines from 1, `column` the line's fields from 1."""

    line: int
    column: int
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """One record; inside quotes it may go over several lines."""

    line: int  # where it begins
    fields: list[str]

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in any field."""
        return not any(field.strip() for field in self.fields)


class UnreadableError(Exception):
    """The file can't be read on from here. Never leaves the CSV modules."""

    def __init__(self, *problems: CsvProblem) -> None:
        super().__init__(problems)
        self.problems = problems


def records(data: bytes) -> Iterator[CsvRecord]:
    """The records of a file, blank ones too. Raises `UnreadableError`."""
    text = _decode(data)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    begins = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            remedy = "close every quote, and double a quote inside a quoted field"
            problem = CsvProblem(begins, 1, f"the line cannot be read ({error})", remedy)
            raise UnreadableError(problem) from error
        if fields is None:
            return
        for number, field in enumerate(fields, 1):
            if len(field) > MAX_FIELD_CHARACTERS:
                cause = f"a field of more than {MAX_FIELD_CHARACTERS} characters"
                raise UnreadableError(CsvProblem(begins, number, cause, "look for a quote that is not closed"))
        yield CsvRecord(begins, fields)
        begins = reader.line_num + 1


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableError(CsvProblem(1, 1, "the file is UTF-16", "save it as 'CSV UTF-8'"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        raise UnreadableError(_after(before, "the file is not UTF-8", "save it as 'CSV UTF-8'")) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (found := _CONTROL.search(text)) is not None:
        raise UnreadableError(_after(text[: found.start()], "a control character", "take it out"))
    return text


def _after(before: str, cause: str, remedy: str) -> CsvProblem:
    """A problem that stands after some text."""
    lines = before.split("\n")
    return CsvProblem(len(lines), lines[-1].count(_delimiter(before)) + 1, cause, remedy)


def _delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return max(_DELIMITERS, key=header.count)
