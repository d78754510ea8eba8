"""Splits WWW-Authenticate fields into challenges (RFC 9110 11.6.1). Does no I/O."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_PARAMETER: Final = _TOKEN + rb"[ \t]*+=[ \t]*+(?:" + _QUOTED + rb"|" + _TOKEN + rb")"
_SPACES: Final = rb"[ \t]*+"
# Members of the list: a scheme with what follows it, or a further parameter. Empty members are allowed.
_MEMBER: Final = re.compile(
    _SPACES
    + rb"(?:(?P<parameter>"
    + _PARAMETER
    + rb")|(?P<scheme>"
    + _TOKEN
    + rb"(?: ++(?:"
    + _PARAMETER
    + rb"(?=[ \t]*+(?:,|\Z))|[A-Za-z0-9\-._~+/]++=*+))?+))?+"
    + _SPACES
    + rb"(?:,|\Z)"
)


def read_challenges(value: bytes) -> list[bytes] | None:
    """The challenges, each with its parameters; None if the value is malformed."""
    challenges: list[bytes] = []
    at, begin, end = 0, -1, -1
    while at < len(value):
        member = _MEMBER.match(value, at)
        if member is None:
            return None
        if member["scheme"] is not None:
            if begin >= 0:
                challenges.append(value[begin:end])
            begin, end = member.span("scheme")
        elif member["parameter"] is not None:
            if begin < 0:
                return None
            end = member.end("parameter")
        at = member.end()
    if begin >= 0:
        challenges.append(value[begin:end])
    return challenges
