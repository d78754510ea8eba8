"""Reads how urgent a client says that an answer is: the `priority` field and PRIORITY_UPDATE (RFC 9218).

Keeps true: a value never refuses a request. A value that is not a dictionary of RFC 8941 is ignored as a whole. Of a
dictionary, members that are unknown, out of range or of another type are ignored, as if they were absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# What clients send has less than ten bytes; a longer value than this one is ignored.
MAX_PRIORITY_BYTES: Final = 256
# Clients send a few different values again and again.
MAX_CACHED_VALUES: Final = 64
# RFC 9218 4.1: 0 is the most urgent.
LEAST_URGENCY: Final = 7

# RFC 8941 section 3. Quantifiers with "+" don't go back, so a hostile value takes linear time.
_KEY: Final = rb"[a-z*][a-z0-9_\-.*]*+"
_BASE64: Final = rb"[A-Za-z0-9+/]"
_BARE_ITEM: Final = (
    rb"(?:-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.])|-?[0-9]{1,15}(?![0-9.])"  # decimal, integer
    rb'|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'  # string
    rb"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+"  # token
    rb"|:(?:" + _BASE64 + rb"{4})*+(?:" + _BASE64 + rb"{2}(?:==)?|" + _BASE64 + rb"{3}=?)?:"  # bytes
    rb"|\?[01])"  # boolean
)
_PARAMETERS: Final = rb"(?:; *+" + _KEY + rb"(?:=" + _BARE_ITEM + rb")?)*+"
_ITEM: Final = _BARE_ITEM + _PARAMETERS
_INNER_LIST: Final = rb"\( *+(?:" + _ITEM + rb"(?: ++(?!\))" + _ITEM + rb"| ++(?=\)))*+)?\)"
_MEMBER: Final = re.compile(
    rb"("
    + _KEY
    + rb")(?:=("
    + _BARE_ITEM
    + rb"|"
    + _INNER_LIST
    + rb"))?"
    + _PARAMETERS
    + rb"(?:[ \t]*+(,)[ \t]*+| *+\Z)"
)
_INTEGER: Final = re.compile(rb"-?[0-9]+")
_BOOLEANS: Final = {None: True, b"?1": True, b"?0": False}  # None: a member without a value


@dataclass(frozen=True, slots=True)
class Priority:
    """How urgent an answer is, from 0 to 7, and whether the client can use parts of it."""

    urgency: int = 3
    is_incremental: bool = False


DEFAULT: Final = Priority()


@lru_cache(maxsize=MAX_CACHED_VALUES)
def parse_priority(value: bytes, otherwise: Priority = DEFAULT) -> Priority:
    """What `value` says (several field lines are joined with ", "); what it doesn't say is as in `otherwise`.

    For an upstream's answer, `otherwise` is what the client said (RFC 9218 section 8).
    """
    members = _members(value)
    urgency, is_incremental = otherwise.urgency, otherwise.is_incremental
    asked = members.get(b"u")
    if asked is not None and _INTEGER.fullmatch(asked) and 0 <= int(asked) <= LEAST_URGENCY:
        urgency = int(asked)
    if b"i" in members:
        is_incremental = _BOOLEANS.get(members[b"i"], is_incremental)
    return Priority(urgency, is_incremental)


def _members(value: bytes) -> dict[bytes, bytes | None]:
    """The members of a dictionary without their parameters, the last of each key; none where it is malformed."""
    members: dict[bytes, bytes | None] = {}
    if len(value) > MAX_PRIORITY_BYTES:
        return members
    value = value.lstrip(b" ")
    at = 0
    while match := _MEMBER.match(value, at):
        members[match[1]] = match[2]
        if match[3] is None:
            return members
        at = match.end()
    return {}
