"""What the keeper remembers for alerts, in one file: places, what waits to be mailed, and what was mailed.

Keeps true: the file's size is bounded, whatever the log holds. A file that is missing, damaged or a week old means that
the keeper learns again before it alerts.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from gateway.pki.files import make_folder, write_private
from gateway.regular_files import TooLargeError, read_regular

MAX_STATE_BYTES: Final = 32 * 1024 * 1024  # more than the limits below allow
MAX_PEOPLE: Final = 10_000  # those who were not seen for the longest time are forgotten first
MAX_NETWORKS: Final = 32  # of one person; a phone has some at home, at work and from its provider
MAX_DEVICES: Final = 8  # of one person
MAX_PENDING: Final = 1000  # events of one kind that wait to be mailed; further ones are counted
FORGET_SECONDS: Final = 7 * 86_400.0  # so long without the log, and the keeper learns again
_FOLDER_MODE: Final = 0o750

_log = logging.getLogger("gateway.keeper")


class Person(msgspec.Struct):
    """Where a person's certificates were used; the place used last is the last one."""

    networks: list[str] = []
    devices: list[str] = []


class Event(msgspec.Struct):
    """What is to be mailed about one person."""

    kind: str  # "place" or "refusals"
    person: str
    first: float  # Unix seconds
    last: float
    count: int = 0  # of uses or refusals
    lines: list[str] = []  # new places: one for each
    name: str = ""  # of the certificate
    serial: str = ""
    reasons: dict[str, int] = {}
    addresses: list[str] = []


class State(msgspec.Struct):
    """The whole file."""

    began: float = 0.0  # when the keeper began to learn; 0: not yet
    seen_until: float = 0.0  # up to this time the log was read
    people: dict[str, Person] = {}  # by certificate's address; the one seen last is the last one
    pending: dict[str, Event] = {}
    unlisted: int = 0  # events for which `pending` had no place
    told: dict[str, float] = {}  # event's key → when it was mailed
    sent: dict[str, list[float]] = {}  # by kind: when the mails of the last hour were sent


def load(path: Path, now: float) -> State:
    """The file's state; a new one if there is none that is usable."""
    try:
        state = msgspec.json.decode(read_regular(path, MAX_STATE_BYTES), type=State)
    except FileNotFoundError:
        return State(began=now)
    except (OSError, TooLargeError, msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.warning("%s: not usable, so alerts are learnt again for a day: %s", path, error)
        return State(began=now)
    if now - state.seen_until > FORGET_SECONDS:
        return State(began=now)
    return state


def save(path: Path, state: State) -> None:
    """Write the file. Raises `OperationError`."""
    make_folder(path.parent, _FOLDER_MODE)
    write_private(path, msgspec.json.encode(state))
