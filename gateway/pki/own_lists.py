"""Lists that the desk wrote earlier, read back: in any of the dialects that it writes, without a line that was cut off.

An import adds to the lists of its folder. Each run may have had a list of users in another dialect.
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
    """The lines below the names of the columns; nothing where there is no file. Raises `UsageError` for another file.

    A last line that a crash cut off is left out.
    """
    if not exists(path):
        return []
    try:
        text = text_of(read(path))
        delimiter = next((sign for sign in DELIMITERS if text.startswith(f"{columns[0]}{sign}")), ",")
        whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
        found = list(csv.reader(whole, delimiter=delimiter))
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path}: is no {what}", "Name another --out folder.") from error
    if found[:1] not in ([], [list(columns)]):
        raise UsageError(f"{path}: is not a list that this program wrote", "Name another --out folder.")
    return [tuple(map(armed, row)) for row in found[1:] if len(row) == len(columns)]
