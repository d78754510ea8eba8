"""Days as people write them: `2027-03-01` in the file, `1 March 2027` in a message."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from typing import Final

# Only years from 2000 to 2099, so that a misspelt year is not a day in another century.
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2099
DAY_PATTERN: Final = r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"

# A day with a time behind it, or in another order. 3/1/2027 is left out: it may mean two days.
_YEAR_FIRST: Final = re.compile(r"(20[0-9]{2})[-./ ]([0-9]{1,2})[-./ ]([0-9]{1,2})(?:[Tt ].{1,40})?", re.ASCII)
_DAY_FIRST: Final = re.compile(r"([0-9]{1,2})\. ?([0-9]{1,2})\. ?(20[0-9]{2})", re.ASCII)
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def parse_day(text: str) -> date | None:
    """The day that `text` is; None if it is not a day of the calendar."""
    if not re.fullmatch(DAY_PATTERN, text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:  # 29 February
        return None


def is_out_of_range(text: str) -> bool:
    """Whether it is a day of the calendar, as `2027-03-01` is written, in a year that `parse_day` doesn't accept."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return False
    return not FIRST_YEAR <= day.year <= LAST_YEAR


def meant_day(text: str) -> date | None:
    """The day that a text in another spelling clearly means; for a day after a month's end, the month's last day."""
    if (found := _YEAR_FIRST.fullmatch(text)) is not None:
        year, month, day = map(int, found.groups())
    elif (found := _DAY_FIRST.fullmatch(text)) is not None:
        day, month, year = map(int, found.groups())
    else:
        return None
    if not (1 <= month <= len(_MONTHS) and 1 <= day <= 31):
        return None
    return date(year, month, min(day, monthrange(year, month)[1]))


def format_day(day: date) -> str:
    """`1 March 2027`, whatever the locale."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
