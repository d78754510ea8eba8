"""Regular expressions for the lines of a log from a moment on, or before it.

Keeps true: of the lines that begin with their time, as the gateway's do, every one in the range is found, and some of
the same minute that are not. Times that are not in UTC are found whatever they are. `reader` parses all other lines.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import re2

from gateway.logs.reader import BEGINNING

_BEFORE: Final[str] = re2.escape(BEGINNING.decode("ascii"))
_NOT_IN_UTC: Final = '[^"Z]*"'
_FORM: Final = "%Y-%m-%dT%H:%M"


def since_finder(moment: datetime) -> str:
    """For times from the moment on; RE2 syntax."""
    return f"{_BEFORE}(?:{_compared(_minute(moment), is_later=True)}|{_NOT_IN_UTC})"


def until_finder(moment: datetime) -> str:
    """For times up to the moment; RE2 syntax."""
    return f"{_BEFORE}(?:{_compared(_minute(moment), is_later=False)}|{_NOT_IN_UTC})"


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORM).zfill(len("2026-11-24T07:00"))


def _compared(minute: str, *, is_later: bool) -> str:
    """Texts that begin with this minute, or with a later (earlier) one: `2(?:0(?:…|[3-9])|[1-9])`."""
    found = ""
    for place in range(len(minute) - 1, -1, -1):
        character = minute[place]
        if not character.isdecimal():
            found = f"[Tt ]{found}" if character == "T" else f"{character}{found}"
            continue
        digit = int(character)
        first, last = (digit + 1, 9) if is_later else (0, digit - 1)
        found = f"(?:{digit}{found}|[{first}-{last}])" if first <= last else f"{digit}{found}"
    return found
