"""Small words that the modules of the answer share."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from gateway.errors import GatewayError

NO_NAME: Final = "no name"  # stands for a rule that a line doesn't name


class Said(NamedTuple):
    """A cause in words. `commands` are keys of `commands.COMMANDS`; `command` is one that is written already."""

    name: str
    sentence: str
    remedy: str
    commands: tuple[str, ...]
    command: str | None = None


def moment(time: datetime | None) -> str:
    """A time in local time: `2026-11-24 07:12:30`."""
    return "at an unknown time" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def count_of(number: int, what: str) -> str:
    """`1 line`, `2,000 lines`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def first_line(error: GatewayError) -> str:
    """The cause, of a configuration with several errors the first one."""
    return error.cause.partition("\n")[0]
