"""Small words that the modules of the answer share."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from gateway.errors import GatewayError


class Said(NamedTuple):
    """A cause in words. `commands` are keys of `commands.COMMANDS`."""

    name: str
    sentence: str
    remedy: str
    commands: tuple[str, ...]


def moment(time: datetime | None) -> str:
    """A time in local time: `2026-11-24 07:12:30`."""
    return "at an unknown time" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def count_of(number: int, what: str) -> str:
    """`1 line`, `2,000 lines`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def first_line(error: GatewayError) -> str:
    """The cause, of a configuration with several errors the first one."""
    return error.cause.partition("\n")[0]
