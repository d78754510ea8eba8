"""Excel workbooks (.xlsx), as text: the first visible sheet that has a column with mail addresses.

Formulas are not evaluated: the result that Excel saved counts. Other programs may save no results, or 0 for all. Such a
cell is reported: as an empty cell, it could mean that an account is not disabled, or that a lifetime has no limit.

A workbook is a ZIP archive of XML. A hostile one unpacks to gigabytes, has XML entities that grow, or claims to have
millions of rows and columns. The unpacked size is checked before the workbook is read, the number and length of its
rows while it is read. defusedxml refuses entities; openpyxl uses it if it is installed.
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

# Five thousand users with all attributes in Active Directory. Reading it takes ten times as much memory for a moment.
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
MAX_PARTS: Final = 1_000  # a workbook has about ten, and a few for each sheet
MAX_LINES: Final = 100_000  # blank ones too, also those that the file skips by their number
MAX_COLUMNS: Final = 1_000  # Outlook has ninety, Active Directory some hundred
MAX_SHEETS: Final = 20  # in which the users are searched
_REMEDY: Final = "save the sheet in Excel as 'CSV UTF-8' and import that"


def table(data: bytes) -> Table:
    """The sheet with the users. Raises `UnreadableError`."""
    _check_size(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which are not read
            return _table(data)
    except UnreadableError:
        raise
    # For hostile XML, openpyxl raises exceptions of any kind: KeyError, TypeError, zlib.error, …
    except Exception as error:
        raise UnreadableError(Problem(1, 1, "the workbook cannot be read", _REMEDY)) from error


def _check_size(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise UnreadableError(Problem(1, 1, "the workbook is broken", "save it in Excel again")) from error
    if "xl/workbook.xml" not in {part.filename for part in parts}:
        cause = "the file is a ZIP archive, but not an Excel workbook"
        raise UnreadableError(Problem(1, 1, cause, "save it as .xlsx or as 'CSV UTF-8'"))
    # Unpacking a part never gives more bytes than its entry says.
    if sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES or len(parts) > MAX_PARTS:
        cause = f"the workbook unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB or {MAX_PARTS} parts"
        raise UnreadableError(Problem(1, 1, cause, _REMEDY))


def _table(data: bytes) -> Table:
    if not openpyxl.DEFUSEDXML:
        cause = "the environment variable OPENPYXL_DEFUSEDXML switches a protection off"
        raise UnreadableError(Problem(1, 1, cause, "unset OPENPYXL_DEFUSEDXML"))
    with _opened(data, has_results=True) as book:
        visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not visible:
            raise UnreadableError(Problem(1, 1, "the workbook has no sheet with rows", _REMEDY))
        for sheet in visible:
            sheet.reset_dimensions()  # don't trust the size that the file claims
        sheet = next(filter(_has_users, visible[:MAX_SHEETS]), visible[0])
        records = _without_blank_start(_records(data, sheet, book.worksheets.index(sheet)))
    notes: tuple[str, ...] = ()
    if others := [shown(other.title) for other in visible if other is not sheet]:
        names = ", ".join(f"'{name}'" for name in others[:5])
        notes = (f"only the sheet '{shown(sheet.title)}' was read, not {names}",)
    return Table(iter(records), ANY_LANGUAGE, notes)


def _has_users(sheet: Any) -> bool:
    """Whether one of a sheet's first lines names a column with mail addresses."""
    first = sheet.iter_rows(max_row=MAX_TITLE_LINES + 1, max_col=MAX_COLUMNS)
    return any(names_columns(Record(1, [_text(cell.value) for cell in row])) for row in first)


def _opened(data: bytes, *, has_results: bool) -> closing[Any]:
    """The workbook with the results of its formulas, or with the formulas themselves."""
    return closing(openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=has_results, keep_links=False))


def _without_blank_start(records: list[Record]) -> list[Record]:
    """The records without blank ones at the start; they may precede the names of the columns."""
    first = next((number for number, record in enumerate(records) if not record.is_blank), len(records))
    return records[first:]


def _records(data: bytes, sheet: Any, number: int) -> list[Record]:
    found: list[Record] = []
    for line, row in enumerate(sheet.iter_rows(), 1):
        if line > MAX_LINES or len(row) > MAX_COLUMNS:
            cause = f"the sheet has more than {MAX_LINES} lines or {MAX_COLUMNS} columns"
            raise UnreadableError(Problem(line, 1, cause, "delete unneeded lines and columns, or split the sheet"))
        valueless = {place: cell.coordinate for place, cell in enumerate(row) if _may_lack_a_result(cell)}
        found.append(Record(line, [_text(cell.value) for cell in row], valueless))
    if not any(record.uncalculated for record in found):
        return found
    formulas = _formulas(data, number)
    return [
        replace(each, uncalculated={p: cell for p, cell in each.uncalculated.items() if (each.line, p) in formulas})
        for each in found
    ]


def _may_lack_a_result(cell: Any) -> bool:
    """Whether the cell has no value or the number 0. A formula with the result "" has the type of a text."""
    return not cell.value and cell.data_type == "n" and not isinstance(cell, EmptyCell)


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
