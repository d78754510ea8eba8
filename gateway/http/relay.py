"""The messages between a worker and the publisher: a line of JSON each; the body follows the answer's line.

Keeps true: a line has a maximum length and contains only values that the worker has parsed, never the client's raw
bytes. Both sides raise `RelayError` for any other line.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.errors import GatewayError, RequestError
from gateway.facts import Reason
from gateway.http.published import MAX_OCSP_REQUEST_BYTES, Kind, Wanted

# The publisher's validators have 34 bytes; a client that sends a longer list gets the whole answer.
MAX_CONDITION_BYTES: Final = 512
# An OCSP request in base64, two conditions, and the keys; an answer's line has about 500 bytes.
MAX_LINE_BYTES: Final = 2 * MAX_OCSP_REQUEST_BYTES
_STATUSES: Final = (200, 304)


class RelayError(GatewayError):
    """The other side sent a malformed line."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the publisher."""

    wanted: Wanted
    is_head: bool = False  # the answer's body is not wanted
    is_cacheable: bool = False  # not a POST: caches may keep the answer
    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The beginning of one answer, without its body."""

    status: int
    fields: tuple[tuple[str, str], ...]
    length_bytes: int


def question_line(question: Question) -> bytes:
    """The line that a worker sends."""
    wanted = question.wanted
    return _line(
        {
            "kind": wanted.kind,
            "name": wanted.name,
            "request": None if wanted.request is None else base64.b64encode(wanted.request).decode("ascii"),
            "is_head": question.is_head,
            "is_cacheable": question.is_cacheable,
            "if_none_match": _condition(question.if_none_match),
            "if_modified_since": _condition(question.if_modified_since),
        }
    )


def read_question(line: bytes) -> Question:
    """Parse the line of a worker. Raises `RelayError`."""
    match _read(line):
        case {
            "kind": str(kind),
            "name": str(name),
            "request": str() | None as request,
            "is_head": bool(is_head),
            "is_cacheable": bool(is_cacheable),
            "if_none_match": str() | None as if_none_match,
            "if_modified_since": str() | None as if_modified_since,
        }:
            try:
                der = None if request is None else base64.b64decode(request, validate=True)
                wanted = Wanted(Kind(kind), name, der)
            except (ValueError, binascii.Error) as error:
                raise RelayError("a worker sent a malformed request") from error
            return Question(wanted, is_head, is_cacheable, _bytes(if_none_match), _bytes(if_modified_since))
        case _:
            raise RelayError("a worker sent a malformed request")


def reply_line(reply: Reply) -> bytes:
    """The line that the publisher sends before a body."""
    return _line({"status": reply.status, "fields": reply.fields, "length": reply.length_bytes})


def refusal_line(error: RequestError) -> bytes:
    """The line that the publisher sends to refuse."""
    return _line({"refuse": error.reason, "cause": error.cause})


def read_reply(line: bytes) -> Reply:
    """Parse the publisher's line. Raises `RequestError` if it refuses, `RelayError` if the line is malformed."""
    match _read(line):
        case {"refuse": str(reason), "cause": str(cause)} if reason in list(Reason):
            raise RequestError(Reason(reason), cause)
        case {"status": int(status), "fields": list(fields), "length": int(length)} if status in _STATUSES:
            if length >= 0 and all(map(_is_field, fields)):
                return Reply(status, tuple((name, value) for name, value in fields), length)
    raise RelayError("the publisher sent a malformed answer")


def _is_field(field: Any) -> bool:
    match field:
        case [str(name), str(value)]:
            return name.isascii() and value.isascii() and (name + value).isprintable()
    return False


def _line(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _read(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RelayError("a line is not JSON") from error


def _condition(value: bytes | None) -> str | None:
    return None if value is None or len(value) > MAX_CONDITION_BYTES else value.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1", "replace")
