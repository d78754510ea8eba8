"""CSV files: bytes are read into records with their lines. The separator (comma, semicolon or tab) is detected from the
first line; fields may have quotes as in RFC 4180.

Excel's `sep=;` and the `#TYPE …` of PowerShell's Export-Csv may precede the names of the columns. An unreadable line is
a `Problem` with its number, never an exception of the `csv` module.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from gateway.pki.user_files.columns import known_names
from gateway.pki.user_files.dialect import ANY_LANGUAGE, DELIMITERS, Dialect, Encoding, delimiter_of
from gateway.pki.user_files.encoding import decode
from gateway.pki.user_files.records import Problem, Record, Table, UnreadableError, shown
from gateway.pki.words import CodePage

# Columns that are not used may be long: a person's groups, notes. This is the csv module's own limit, for the message.
MAX_ANY_FIELD_CHARACTERS: Final = 131_072
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_TYPE_LINE: Final = re.compile(r'"?#TYPE\b.*', re.IGNORECASE)


def table(data: bytes, code_page: CodePage | None) -> Table:
    """The file's records, dialect and notes. Raises `UnreadableError`, here and while the records are read."""
    text, encoding, guessed = decode(data, code_page, _known_columns)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    skipped, separator = _preamble(text)
    body = "\n".join(text.split("\n")[skipped:])
    delimiter = separator or delimiter_of(body)
    dialect = Dialect(delimiter, encoding)
    if separator is not None or encoding is Encoding.UTF_16:
        dialect = ANY_LANGUAGE
    notes = () if guessed is None else (f"not UTF-8, so it was read as {guessed}; check that the names are right",)
    return Table(_records(body, delimiter, skipped + 1), dialect, notes)


def _preamble(text: str) -> tuple[int, str | None]:
    """The number of lines before the names of the columns, and the separator if one of them names it."""
    separator = None
    for number, line in enumerate(text.split("\n", 2)[:2]):
        if (found := _SEPARATOR_LINE.fullmatch(line.rstrip())) is not None and separator is None:
            separator = found[1]
            if separator not in f"{DELIMITERS}|":
                cause = f"the separator '{shown(separator)}' is not supported"
                raise UnreadableError(Problem(number + 1, 1, cause, "separate the fields by ; and write sep=;"))
        elif _TYPE_LINE.fullmatch(line) is None:
            return number, separator
    return 2, separator


def _records(text: str, delimiter: str, begins: int) -> Iterator[Record]:
    offset = begins - 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            cause = f"the line cannot be read ({error})"
            if "field limit" in str(error):
                cause = f"a field has more than {MAX_ANY_FIELD_CHARACTERS} characters"
            remedy = "close every quote, and double a quote inside a quoted field"
            raise UnreadableError(Problem(begins, 1, cause, remedy)) from error
        if fields is None:
            return
        yield Record(begins, fields)
        begins = reader.line_num + 1 + offset


def _known_columns(text: str) -> int:
    skipped, separator = _preamble(text.replace("\r\n", "\n").replace("\r", "\n"))
    header = text.splitlines()[skipped : skipped + 1]
    return sum(known_names(line.split(separator or delimiter_of(line))) for line in header)
