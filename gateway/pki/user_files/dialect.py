"""The dialect of a list: its separator and encoding. The desk writes its lists in the dialect of the list of users, so
that they open in the same program.

When a CSV file without a byte order mark is opened by a double click, Excel reads it in the code page of the computer.
It splits lines at the separator of its language: commas in English, semicolons in German and Czech. UTF-16 with tabs
opens correctly in all languages.
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
    """The encoding of a list."""

    UTF_8 = "utf-8"
    UTF_8_MARKED = "utf-8-sig"  # with a byte order mark
    UTF_16 = "utf-16"  # little-endian, with a byte order mark

    @property
    def mark(self) -> bytes:
        """The byte order mark at the beginning of the file; empty for plain UTF-8."""
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
# Opens correctly in every language; for input that doesn't show the separator of its program's language.
ANY_LANGUAGE: Final = Dialect("\t", Encoding.UTF_16)


def delimiter_of(text: str) -> str:
    """The separator that is most frequent in the first line, outside quotes; on a tie, not the comma."""
    header = _QUOTED.sub("", text.split("\n", 1)[0])
    return max("\t;,", key=header.count) if any(sign in header for sign in DELIMITERS) else ","


def text_of(data: bytes) -> str:
    """A list that the desk wrote, as text, without a character that is cut off at the end. Raises `ValueError`."""
    encoding = Encoding.UTF_16 if data.startswith(codecs.BOM_UTF16_LE) else Encoding.UTF_8_MARKED
    return codecs.getincrementaldecoder(encoding)().decode(data)
