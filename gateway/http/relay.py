"""What a worker asks the publisher, and what that answers: a line of JSON each, and behind the answer's line its body.

Keeps true: a line is bounded, and holds what the worker has read and nothing as the client sent it; what is not such a
line is `RelayError`, on either side.
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

# A validator of ours has 34 bytes; a client that lists more than these gets the whole answer.
MAX_CONDITION_BYTES: Final = 512
# An OCSP request in base64, two conditions, and the names around them; an answer's line is some 500 bytes.
MAX_LINE_BYTES: Final = 2 * MAX_OCSP_REQUEST_BYTES
_STATUSES: Final = (200, 304)


class RelayError(GatewayError):
    """The other side does not make sense."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    wanted: Wanted
    is_head: bool = False  # the answer's body is not wanted
    is_cacheable: bool = False  # no POST: its answer may be kept on the way
    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, without its body."""

    status: int
    fields: tuple[tuple[str, str], ...]
    length_bytes: int


def question_line(question: Question) -> bytes:
    """The worker's line."""
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
    """What a worker asks. Raises `RelayError`."""
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
    """The publisher's line before a body."""
    return _line({"status": reply.status, "fields": reply.fields, "length": reply.length_bytes})


def refusal_line(error: RequestError) -> bytes:
    """The publisher's line where there is nothing to give."""
    return _line({"refuse": error.reason, "cause": error.cause})


def read_reply(line: bytes) -> Reply:
    """What the publisher answers. Raises `RequestError` for its refusal, `RelayError` for what is no answer."""
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
