"""How a list is written, so that what the desk writes opens in the program that the list of users came from.

Excel opens a CSV file on a double click in the code page of its computer, unless a byte order mark says otherwise, and
splits it at its language's own separator: commas in English, semicolons in German and Czech. UTF-16 with tabs opens
right in all of them.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DELIMITERS: Final = ",;\t"
_QUOTED: Final = re.compile(r'"[^"]*"')


class Encoding(StrEnum):
    """How the characters of a list are written."""

    UTF_8 = "utf-8"
    UTF_8_MARKED = "utf-8-sig"  # with a byte order mark
    UTF_16 = "utf-16"  # little-endian, with a byte order mark

    @property
    def mark(self) -> bytes:
        """The byte order mark, with which the file begins."""
        return {Encoding.UTF_8_MARKED: codecs.BOM_UTF8, Encoding.UTF_16: codecs.BOM_UTF16_LE}.get(self, b"")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The separator and the encoding of a list that the desk writes."""

    delimiter: str = ","
    encoding: Encoding = Encoding.UTF_8

    def line(self, cells: Sequence[str]) -> bytes:
        """One line, without byte order mark."""
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n").writerow(cells)
        return text.getvalue().encode("utf-16-le" if self.encoding is Encoding.UTF_16 else "utf-8")


PLAIN: Final = Dialect()
# Opens right on a double click whatever the language: for lists that don't say which separator their program has.
ANY_LANGUAGE: Final = Dialect("\t", Encoding.UTF_16)


def delimiter_of(text: str) -> str:
    """The sign that the first line has most of, outside quotes; commas stand in names too."""
    header = _QUOTED.sub("", text.split("\n", 1)[0])
    return max("\t;,", key=header.count) if any(sign in header for sign in DELIMITERS) else ","


def text_of(data: bytes) -> str:
    """A list that the desk wrote, as text; a character that is cut off at the end is left out. Raises `ValueError`."""
    encoding = Encoding.UTF_16 if data.startswith(codecs.BOM_UTF16_LE) else Encoding.UTF_8_MARKED
    return codecs.getincrementaldecoder(encoding)().decode(data)
