"""Reading the lists that the desk wrote earlier, in any of its dialects, without a line that a crash cut off.

An import adds to the lists in its folder. An earlier run's list of users may have had another dialect.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from gateway.access import exists
from gateway.errors import UsageError
from gateway.pki.files import read
from gateway.pki.user_files.cells import armed
from gateway.pki.user_files.dialect import DELIMITERS, text_of


def rows(path: Path, columns: tuple[str, ...], what: str) -> list[tuple[str, ...]]:
    """The lines below the names of the columns, without a last line that a crash cut off; empty if there is no file.

    Raises `UsageError` if the file is not the desk's.
    """
    if not exists(path):
        return []
    try:
        text = text_of(read(path))
        delimiter = next((sign for sign in DELIMITERS if text.startswith(f"{columns[0]}{sign}")), ",")
        whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
        found = list(csv.reader(whole, delimiter=delimiter))
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path}: is not a {what}", "Name another --out folder.") from error
    if found[:1] not in ([], [list(columns)]):
        raise UsageError(f"{path}: is not a list that this program wrote", "Name another --out folder.")
    return [tuple(map(armed, row)) for row in found[1:] if len(row) == len(columns)]
