"""The encoding of a list of users: UTF-8, UTF-16 with a mark, or a Windows code page if no other one is possible.

Excel's "CSV (delimited)", Outlook's export and `Export-Csv -Encoding Default` write in the code page of the computer,
and the file doesn't say which. German text is the same in the code pages of Western, Central European, Turkish and
Baltic Windows, so it can be read. Czech text is recognised by the names of its columns. Other text is refused: `Kovář`
could become `Kováø`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final

from gateway.pki.user_files.dialect import Encoding, delimiter_of
from gateway.pki.user_files.records import Problem, UnreadableError
from gateway.pki.words import CodePage

_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CANDIDATES: Final = ("cp1252", "cp1250", "cp1254", "cp1257")
# Cyrillic and Greek words consist only of high bytes; German ones have at most two in a row.
_FOREIGN_RUN: Final = re.compile(rb"[\x80-\xff]{3}")
_REMEDY: Final = (
    "save it in Excel as 'CSV UTF-8' or as .xlsx; export it with Export-Csv -Encoding UTF8; "
    "or name its code page with --encoding windows-1252 or windows-1250"
)
_NAMES: Final = {"cp1252": "Windows-1252", "cp1250": "Windows-1250"}


def decode(
    data: bytes, code_page: CodePage | None, known_columns: Callable[[str], int]
) -> tuple[str, Encoding, str | None]:
    """The text, the encoding for the desk's own lists, and the code page if it had to be guessed, else None.

    `known_columns` counts the known names of columns in a text's first line. Raises `UnreadableError`.
    """
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], codec, "UTF-16"), Encoding.UTF_16, None
    if data.startswith(codecs.BOM_UTF8):
        return _strict(data[len(codecs.BOM_UTF8) :], "utf-8", "UTF-8"), Encoding.UTF_8_MARKED, None
    if code_page is not None:
        return _strict(data, code_page.codec, code_page.value), Encoding.UTF_8_MARKED, None
    if b"\0" in data[:2]:  # checked before UTF-8, because UTF-16 without accents is valid UTF-8 too
        raise UnreadableError(_problem("", "the file is UTF-16 without a byte order mark"))
    try:
        return data.decode("utf-8"), Encoding.UTF_8, None
    except UnicodeDecodeError as error:
        guessed = _guess(data, known_columns)
        if guessed is None:
            before = data[: error.start].decode("utf-8", "replace")
            raise UnreadableError(_problem(before, "the file is not UTF-8")) from error
    # The program that wrote it reads UTF-8 if there is a byte order mark.
    return data.decode(guessed), Encoding.UTF_8_MARKED, _NAMES[guessed]


def _guess(data: bytes, known_columns: Callable[[str], int]) -> str | None:
    """The code page of the bytes: the only possible one, or one of several that give the same text; else None."""
    central, western = (known_columns(data.decode(codec, "replace")) for codec in ("cp1250", "cp1252"))
    if central > western:
        return "cp1250" if _is_readable(data, "cp1250") else None
    high = bytes(sorted({byte for byte in data if byte >= 0x80}))
    # Below 0xA0, the code pages of DOS and the Mac have letters; those of Windows have mostly punctuation.
    if high[0] < 0xA0 or _FOREIGN_RUN.search(data) or len({high.decode(codec, "replace") for codec in _CANDIDATES}) > 1:
        return None
    return "cp1252" if high.decode("cp1252").isalpha() else None


def _is_readable(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _strict(data: bytes, codec: str, name: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(codec, "replace")
        raise UnreadableError(_problem(before, f"the file is not valid {name}")) from error


def _problem(before: str, cause: str) -> Problem:
    """A problem at the place that follows the text `before`."""
    lines = before.split("\n")
    return Problem(len(lines), lines[-1].count(delimiter_of(before)) + 1, cause, _REMEDY)
