"""Text that lost its letters on the way: what programs put into a list instead of what stood in the cell.

A certificate for `J?rgen` is valid for a year, so such a row is refused.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import UsageError

# csvde without -u writes a value with accents as hexadecimal bytes.
_HEXADECIMAL: Final = re.compile(r"X'[0-9A-Fa-f]*'")
_EXPORT_AGAIN: Final = "Export it again in UTF-8 (Export-Csv -Encoding UTF8, csvde -u, Excel's CSV UTF-8)."


def check(text: str, what: str) -> None:
    """Raises `UsageError` where letters were lost."""
    if "\ufffd" in text or (what == "name" and "?" in text):
        raise UsageError(f"the {what} '{text[:60]}' has lost a letter", _EXPORT_AGAIN)
    if _HEXADECIMAL.fullmatch(text):
        raise UsageError(f"the {what} is written in hexadecimal", _EXPORT_AGAIN)
    if text.startswith("#"):  # #N/A, #REF!, #NV
        raise UsageError(f"the {what} '{text[:60]}' is an error of a spreadsheet", "Correct the cell.")
    if not text.isascii() and _was_read_wrongly(text):
        raise UsageError(f"the {what} '{text[:60]}' is UTF-8 that was read as something else", _EXPORT_AGAIN)


def _was_read_wrongly(text: str) -> bool:
    """Whether it is UTF-8 that a program took for Windows-1252: `JÃ¼rgen`."""
    try:
        text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return False
    return True
