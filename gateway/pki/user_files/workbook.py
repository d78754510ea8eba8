"""Workbooks of Excel (.xlsx), as text: the first sheet that is shown and names a column with mail addresses.

Formulas are not evaluated: the result that Excel saved counts. Programs that write workbooks without Excel save none.
Such a cell is named, or it would be read as an empty one: an account that is not switched off, a lifetime that is
not limited.

A workbook is a ZIP archive of XML, and hostile ones unpack to gigabytes, name entities that grow, or rows and columns
that don't exist. What is unpacked, how many rows and how wide they are is bounded before and while it is read; entities
are refused by defusedxml, which openpyxl takes where it is installed.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any, Final

import openpyxl
from openpyxl.cell.read_only import EmptyCell

from gateway.pki.user_files.columns import MAX_TITLE_LINES, names_columns
from gateway.pki.user_files.dialect import ANY_LANGUAGE
from gateway.pki.user_files.records import Problem, Record, Table, UnreadableError, shown

# Five thousand users with all that Active Directory knows of them; it takes ten times as much memory for a moment.
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
MAX_PARTS: Final = 1_000  # a workbook has some ten, and a few for each sheet
MAX_LINES: Final = 100_000  # blank ones too, and those that only a number says are there
MAX_COLUMNS: Final = 1_000  # Outlook has ninety, Active Directory some hundred
MAX_SHEETS: Final = 20  # that are looked at for the one with the users
_REMEDY: Final = "save the sheet in Excel as 'CSV UTF-8' and import that"


def table(data: bytes) -> Table:
    """The sheet with the users. Raises `UnreadableError`."""
    _check_size(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which don't count here
            return _table(data)
    except UnreadableError:
        raise
    # openpyxl meets hostile XML with whatever its code runs into: KeyError, TypeError, zlib.error, …
    except Exception as error:
        raise UnreadableError(Problem(1, 1, "the workbook cannot be read", _REMEDY)) from error


def _check_size(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise UnreadableError(Problem(1, 1, "the workbook is broken", "save it in Excel again")) from error
    if "xl/workbook.xml" not in {part.filename for part in parts}:
        cause = "the file is a ZIP archive and not a workbook of Excel"
        raise UnreadableError(Problem(1, 1, cause, "save it as .xlsx or as 'CSV UTF-8'"))
    # No part gives more bytes than its entry says.
    if sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES or len(parts) > MAX_PARTS:
        cause = f"the workbook unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB or {MAX_PARTS} parts"
        raise UnreadableError(Problem(1, 1, cause, _REMEDY))


def _table(data: bytes) -> Table:
    if not openpyxl.DEFUSEDXML:  # switched off in the environment
        raise UnreadableError(Problem(1, 1, "OPENPYXL_DEFUSEDXML is switched off", "unset it"))
    with _opened(data, has_results=True) as book:
        visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not visible:
            raise UnreadableError(Problem(1, 1, "the workbook has no sheet with rows", _REMEDY))
        for sheet in visible:
            sheet.reset_dimensions()  # what the file says of its size may be anything
        sheet = next(filter(_has_users, visible[:MAX_SHEETS]), visible[0])
        records = _without_blank_start(_records(data, sheet, book.worksheets.index(sheet)))
    notes: tuple[str, ...] = ()
    if others := [shown(other.title) for other in visible if other is not sheet]:
        names = ", ".join(f"'{name}'" for name in others[:5])
        notes = (f"only its sheet '{shown(sheet.title)}' was read, not {names}",)
    return Table(iter(records), ANY_LANGUAGE, notes)


def _has_users(sheet: Any) -> bool:
    """Whether one of a sheet's first lines names a column with mail addresses."""
    first = sheet.iter_rows(max_row=MAX_TITLE_LINES + 1, max_col=MAX_COLUMNS)
    return any(names_columns(Record(1, [_text(cell.value) for cell in row])) for row in first)


def _opened(data: bytes, *, has_results: bool) -> closing[Any]:
    """The workbook with the results of its formulas, or with the formulas themselves."""
    return closing(openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=has_results, keep_links=False))


def _without_blank_start(records: list[Record]) -> list[Record]:
    """Above the names of the columns there may be blank lines."""
    first = next((number for number, record in enumerate(records) if not record.is_blank), len(records))
    return records[first:]


def _records(data: bytes, sheet: Any, number: int) -> list[Record]:
    found: list[Record] = []
    for line, row in enumerate(sheet.iter_rows(), 1):
        if line > MAX_LINES or len(row) > MAX_COLUMNS:
            cause = f"the sheet has more than {MAX_LINES} lines or {MAX_COLUMNS} columns"
            raise UnreadableError(Problem(line, 1, cause, "delete what is not needed, or split it"))
        valueless = {place: cell.coordinate for place, cell in enumerate(row) if _has_no_value(cell)}
        found.append(Record(line, [_text(cell.value) for cell in row], valueless))
    if not any(record.uncalculated for record in found):
        return found
    formulas = _formulas(data, number)
    return [
        replace(each, uncalculated={p: cell for p, cell in each.uncalculated.items() if (each.line, p) in formulas})
        for each in found
    ]


def _has_no_value(cell: Any) -> bool:
    """Whether a cell in the file has neither a value nor, from a formula, the result "" (whose type is a text's)."""
    return cell.value is None and cell.data_type == "n" and not isinstance(cell, EmptyCell)


def _formulas(data: bytes, number: int) -> set[tuple[int, int]]:
    """Line and index of each cell of a sheet that has a formula."""
    with _opened(data, has_results=False) as book:
        sheet = book.worksheets[number]
        sheet.reset_dimensions()
        return {
            (line, place)
            for line, row in enumerate(sheet.iter_rows(), 1)
            for place, cell in enumerate(row)
            if cell.data_type == "f"
        }


def _text(value: object) -> str:
    """A cell as it would stand in a CSV file."""
    match value:
        case None:
            return ""
        case float() if value.is_integer():
            return str(int(value))
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)
