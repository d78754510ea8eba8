"""The events of an answer, the same for each version of HTTP.

Keeps true: an event says what a message is, not how its bytes are framed. Framing fields and whether the connection is
kept are the business of the code that writes the events, such as `http1_writer`.

The fields of a head are one flat sequence with four parts for each field, as the parser keeps them: name, colon and
space, value, line end. So a head of HTTP/1.1 is written with one join.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

FieldParts = Sequence[bytes]


class Interim(NamedTuple):
    """An interim answer (RFC 9110 15.2), but not a 101."""

    status: int
    reason: bytes
    fields: FieldParts


class Head(NamedTuple):
    """The head of the final answer."""

    status: int
    reason: bytes | None  # None: the usual phrase
    fields: FieldParts
    is_sized: bool  # there is no body, or a Content-Length is among the fields
    may_keep_alive: bool  # another request may follow on an HTTP/1.1 connection


class Upgrade(NamedTuple):
    """The head of a 101: what follows is not HTTP (RFC 9110 7.8)."""

    reason: bytes
    fields: FieldParts
    protocol: bytes


class Data(NamedTuple):
    """A part of the body, or of the new protocol after an `Upgrade`."""

    payload: bytes


class End(NamedTuple):
    """The end of the answer."""

    trailers: Sequence[tuple[bytes, bytes]]


Event = Interim | Head | Upgrade | Data | End

END: Final = End(())  # without trailers


def field(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The parts of a field."""
    return name, b": ", value, b"\r\n"


def fields(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The parts of these fields."""
    return [part for name, value in pairs for part in (name, b": ", value, b"\r\n")]
