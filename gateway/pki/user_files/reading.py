"""Reading a list of users, a CSV file or an Excel workbook. The file's first bytes tell which."""

from __future__ import annotations

from typing import Final

from gateway.pki.user_files import csv_text
from gateway.pki.user_files.records import Problem, Table, UnreadableError
from gateway.pki.words import CodePage

_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def table(data: bytes, code_page: CodePage | None) -> Table:
    """The file's records, dialect and notes. Raises `UnreadableError`, here and while the records are read."""
    if data.startswith(_ZIP):
        from gateway.pki.user_files.workbook import table as table_of_workbook  # noqa: PLC0415 - heavy, and rarely needed

        return table_of_workbook(data)
    if data.startswith(_OLE):
        cause = "the file is an old .xls workbook, or has a password"
        raise UnreadableError(Problem(1, 1, cause, "save it in Excel as .xlsx without a password, or as 'CSV UTF-8'"))
    return csv_text.table(data, code_page)
