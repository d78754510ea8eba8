"""Damaged text: letters that a program replaced when it wrote a list, and errors of spreadsheets.

Such a row is refused, because a certificate for `J?rgen` would be valid for a year.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import UsageError

# csvde without -u writes a value with accents as hexadecimal bytes.
_HEXADECIMAL: Final = re.compile(r"X'[0-9A-Fa-f]*'")
_EXPORT_AGAIN: Final = "Export it again in UTF-8 (Export-Csv -Encoding UTF8, csvde -u, Excel's CSV UTF-8)."


def check(text: str, what: str) -> None:
    """Refuse damaged text. `what` names the field in the message. Raises `UsageError`."""
    if "\ufffd" in text or (what == "name" and "?" in text):
        raise UsageError(f"the {what} '{text[:60]}' has lost a letter", _EXPORT_AGAIN)
    if _HEXADECIMAL.fullmatch(text):
        raise UsageError(f"the {what} is written in hexadecimal", _EXPORT_AGAIN)
    if text.startswith("#"):  # #N/A, #REF!, #NV
        raise UsageError(f"the {what} '{text[:60]}' is an error message of a spreadsheet", "Correct the cell.")
    if not text.isascii() and _was_read_wrongly(text):
        raise UsageError(f"the {what} '{text[:60]}' is UTF-8 that was read in another encoding", _EXPORT_AGAIN)


def _was_read_wrongly(text: str) -> bool:
    """Whether it is UTF-8 that a program read as Windows-1252: `JÃ¼rgen`."""
    try:
        text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return False
    return True
