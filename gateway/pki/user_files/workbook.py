"""Workbooks of Excel (.xlsx): the first sheet that is shown, as text. Formulas are not evaluated.

A workbook is a ZIP archive of XML, and hostile ones unpack to gigabytes, name entities that grow, or rows and columns
that don't exist. What is unpacked, how many rows and how wide they are is bounded before and while it is read; entities
are refused by defusedxml, which openpyxl takes where it is installed.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time
from typing import Any, Final

import openpyxl

from gateway.pki.user_files.dialect import ANY_LANGUAGE
from gateway.pki.user_files.records import Problem, Record, Table, UnreadableError, shown

# Five thousand users with all that Active Directory knows of them; it takes ten times as much memory for a moment.
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
MAX_PARTS: Final = 1_000  # a workbook has some ten, and a few for each sheet
MAX_LINES: Final = 100_000  # blank ones too, and those that only a number says are there
MAX_COLUMNS: Final = 1_000  # Outlook has ninety, Active Directory some hundred
_REMEDY: Final = "save the sheet in Excel as 'CSV UTF-8' and import that"


def table(data: bytes) -> Table:
    """The first sheet. Raises `UnreadableError`."""
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
    with closing(openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)) as book:
        visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not visible:
            raise UnreadableError(Problem(1, 1, "the workbook has no sheet with rows", _REMEDY))
        sheet, *others = visible
        sheet.reset_dimensions()  # what the file says of its size may be anything
        records = list(_records(sheet))
    notes: tuple[str, ...] = ()
    if others:
        names = ", ".join(f"'{shown(other.title)}'" for other in others[:5])
        notes = (f"only its first sheet '{shown(sheet.title)}' was read, not {names}",)
    return Table(iter(records), ANY_LANGUAGE, notes)


def _records(sheet: Any) -> Iterator[Record]:
    header_seen = False
    for line, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if line > MAX_LINES or len(row) > MAX_COLUMNS:
            cause = f"the sheet has more than {MAX_LINES} lines or {MAX_COLUMNS} columns"
            raise UnreadableError(Problem(line, 1, cause, "delete what is not needed, or split it"))
        record = Record(line, [_text(value) for value in row])
        # Above the names of the columns there may be blank lines.
        if header_seen or not record.is_blank:
            header_seen = True
            yield record


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
