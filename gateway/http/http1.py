"""HTTP/1.1 message heads (RFC 9112): bytes to values. Knows no socket.

Keeps true: a head is understood one way or refused. Start lines are matched against RFC 9112's own
grammar, field sections go through `fields.parse_fields`, framing (RFC 9112 section 6) is decided once,
here, and what is forwarded is written anew from the parsed values, never copied.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.fields import Fields, FieldsError, parse_fields
from gateway.http.headers import (
    AUTHORIZATION,
    CHALLENGE,
    CONTENT_LENGTH,
    DATE,
    DROP,
    FORWARDED_FOR,
    HOST,
    KEEP_ALIVE,
    KINDS,
    LAST_PASSING,
    MAX_CACHED_NAME_BYTES,
    NEVER_HOP_BY_HOP,
    ONCE,
    UPGRADE,
    Classifier,
    connection_options,
)

# Every method that is in use, and RPC_IN_DATA. No lower case: a server that reads `head` as HEAD ends its answer
# where nobody else does (RFC 9110 9.1: case counts). No CONNECT: what follows a good answer to it has no framing.
# No TRACE: its answer would tell the client what we tell the upstream of it (RFC 9110 9.3.8).
_METHOD: Final = rb"(?!(?:CONNECT|TRACE) )[A-Z][A-Z0-9_-]{0,31}"
# RFC 9112 3: exactly one space each; the target's characters are judged by policy.uri, here only: no
# controls and no space.
_REQUEST_LINE: Final = re.compile(rb"(" + _METHOD + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
# RFC 9112 3.2.2; user information is a way to make a host look like another and is refused.
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@\\]+)((?:/[^?]*)?)(\?.*)?", re.IGNORECASE | re.DOTALL)
# A parameter at the start or behind a comma. More than nine digits say nothing: that is 30 years.
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?:^|,)[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
# A length of 10^18 bytes is no length; 18 digits keep it below 2^63, where servers' integers end.
MAX_LENGTH_DIGITS: Final = 18
# What an `Upgrade` may ask for (RFC 9110 7.8). Never h2c, HTTP/2.0, SPDY or TLS/1.0 (RFC 2817), nor anything that a
# careless server could take for one: they carry requests that nobody judges.
_SWITCHABLE: Final = re.compile(
    rb"(?!h[23]|http|spdy|tls|ssl)[!#$%&'*+\-.^_`|~0-9A-Z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Z]+)?", re.IGNORECASE
)
# What stands in a request line beside its target: a method of 32 bytes, two spaces and the version are 42.
_LINE_OVERHEAD_BYTES: Final = 64

END_OF_HEAD: Final = b"\r\n\r\n"
# A field section is kept to be known again up to this length: idle connections are many.
MAX_KNOWN_SECTION_BYTES: Final = 2048
_SLASH: Final = 0x2F


class RequestHead:
    """A request's head: filled by `parse_request`, read by everybody else."""

    __slots__ = (
        "content_length",
        "expects_continue",
        "host",
        "is_chunked",
        "is_keep_alive",
        "method",
        "minor",
        "passing",
        "section",
        "target",
        "upgrade",
        "values",
    )

    method: bytes
    target: bytes  # origin-form, "*" or authority-form; absolute-form is split into host and this
    minor: int  # of the HTTP version: 0 or 1
    host: bytes | None  # as sent, from the absolute form where there was one
    passing: list[bytes]  # name, ": ", value, CRLF, … of every field that goes on to the upstream
    section: bytes  # the field section, by which it is known again; empty where it should not be
    values: list[bytes | None]  # what was remembered, by `headers`' kinds: values[USER_AGENT]
    content_length: int | None
    is_chunked: bool
    is_keep_alive: bool
    expects_continue: bool
    upgrade: bytes | None  # what may be switched to, asked for properly and without a body

    @property
    def has_body(self) -> bool:
        """True where bytes of a body follow."""
        return self.is_chunked or bool(self.content_length)


class ResponseHead:
    """A response's head: filled by `parse_response`."""

    __slots__ = (
        "challenge",
        "content_length",
        "has_date",
        "is_chunked",
        "is_keep_alive",
        "keep_alive_seconds",
        "keeps_login",
        "minor",
        "passing",
        "reason",
        "status",
        "upgrade",
    )

    minor: int
    status: int
    reason: bytes
    passing: list[bytes]
    challenge: bytes | None  # WWW-Authenticate, several joined
    has_date: bool
    content_length: int | None
    is_chunked: bool
    is_keep_alive: bool
    keep_alive_seconds: int | None  # how long the server keeps the connection while it is idle, where it says so
    keeps_login: bool  # the server keeps the connection logged in, and says so
    upgrade: bytes | None


def bad_request(cause: str) -> RequestError:
    """The error for a request that is not HTTP."""
    return RequestError(Reason.BAD_REQUEST, cause)


def check_unfinished(data: bytes, *, uri_bytes: int, header_bytes: int) -> None:
    """Refuse early what can't become a good head: too long already, a line that ends in a bare LF, no request line.

    Refuses nothing that `parse_request` would take once the rest is there.
    """
    line_end = data.find(b"\r\n")
    if (len(data) if line_end < 0 else line_end) > uri_bytes + _LINE_OVERHEAD_BYTES:
        raise _uri_too_long(uri_bytes)
    if has_bare_lf(data):
        raise bad_request("a line ends in a bare LF")
    if line_end < 0:
        return
    if _REQUEST_LINE.match(data) is None:
        raise _bad_request_line(data, uri_bytes)
    # What is there of END_OF_HEAD, three bytes at most, is no header yet.
    if len(data) - (line_end + 2) > header_bytes + len(END_OF_HEAD) - 1:
        raise _headers_too_large(header_bytes)


def parse_request(  # noqa: PLR0913
    data: bytes,
    end: int,
    classify: Classifier,
    *,
    uri_bytes: int,
    headers: int,
    header_bytes: int,
    known: RequestHead | None = None,
) -> RequestHead:
    """The head that starts at 0 and whose END_OF_HEAD stands at `end`. Raises `RequestError`.

    `known`: an earlier head that was read with the same `classify` and limits. Clients send the same fields over and
    over; what they mean depends on their bytes and the version alone.
    """
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise _bad_request_line(data, uri_bytes)
    method, target, minor = line.groups()
    if len(target) > uri_bytes:
        raise _uri_too_long(uri_bytes)
    start = line.end()
    if end - start > header_bytes:
        raise _headers_too_large(header_bytes)
    # Without any field the line's own CRLF is the first half of END_OF_HEAD.
    section = data[start : end + 4] if start < end + 2 else b""
    is_origin_form = target[0] == _SLASH
    version = 1 if minor == b"1" else 0
    if known is not None and section and known.section == section and known.minor == version and is_origin_form:
        return _known_again(known, method, target)
    try:
        fields = parse_fields(section) if section else []
    except FieldsError as error:
        raise bad_request(f"header fields: {error}") from error
    if len(fields) > headers:
        raise RequestError(Reason.HEADERS_TOO_LARGE, f"more than {headers} header fields")
    head = RequestHead()
    head.method = method
    head.minor = version
    _read_request_fields(head, fields, classify)
    if is_origin_form:
        head.target = target
        # What an Upgrade beside a length of 0 means depends on the method, which the section doesn't hold.
        is_whole = head.values[UPGRADE] is None or head.values[CONTENT_LENGTH] is None
        head.section = section if is_whole and len(section) <= MAX_KNOWN_SECTION_BYTES else b""
    else:
        head.section = b""  # its host may be the target's
        _other_form(head, target)
    return head


def _known_again(known: RequestHead, method: bytes, target: bytes) -> RequestHead:
    """A head with the fields of an earlier one; nobody changes what they share."""
    head = RequestHead()
    head.method = method
    head.target = target
    head.minor = known.minor
    head.host = known.host
    head.passing = known.passing
    head.section = known.section
    head.values = known.values
    head.content_length = known.content_length
    head.is_chunked = known.is_chunked
    head.is_keep_alive = known.is_keep_alive
    head.expects_continue = known.expects_continue
    head.upgrade = known.upgrade
    return head


def _uri_too_long(uri_bytes: int) -> RequestError:
    return RequestError(Reason.URI_TOO_LONG, f"the URI is longer than {uri_bytes} bytes")


def _headers_too_large(header_bytes: int) -> RequestError:
    return RequestError(Reason.HEADERS_TOO_LARGE, f"the header section is longer than {header_bytes} bytes")


def _bad_request_line(data: bytes, uri_bytes: int) -> RequestError:
    if data.find(b"\r\n") > uri_bytes + _LINE_OVERHEAD_BYTES:
        return _uri_too_long(uri_bytes)
    return bad_request("the request line is not HTTP/1.1 or HTTP/1.0, or its method is not supported")


def _other_form(head: RequestHead, target: bytes) -> None:
    """A target that does not start with a slash: absolute-form must agree with Host (RFC 9112 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        # authority-form belongs to CONNECT alone; it and "*" are left to the policy, which refuses them.
        head.target = target
        return
    authority, path, query = absolute.groups()
    if head.host is not None and head.host.lower() != authority.lower():
        raise bad_request("the host in the request target differs from the Host field")
    head.host = _host(authority)
    head.target = (path or b"/") + (query or b"")


def _sort(fields: Fields, classify: Classifier) -> tuple[list[bytes], list[bytes | None]]:
    """One pass over the fields: (what goes on, flattened; what we read ourselves, by kind)."""
    passing: list[bytes] = []
    values: list[bytes | None] = [None] * KINDS
    for name, value in fields:
        kind = classify[name]
        if not kind:
            passing += (name, b": ", value, b"\r\n")
            continue
        if kind <= LAST_PASSING:
            passing += (name, b": ", value, b"\r\n")
        elif kind == DROP:
            continue
        before = values[kind]
        if before is None:
            values[kind] = value
        elif kind in ONCE:
            raise bad_request(f"more than one {name.decode('ascii')}")
        else:
            values[kind] = before + b", " + value
    return passing, values


def _read_request_fields(head: RequestHead, fields: Fields, classify: Classifier) -> None:
    passing, values = _sort(fields, classify)
    head.passing = passing
    head.values = values
    (host, length, coding, connection, expect, upgrade) = values[HOST:FORWARDED_FOR]
    head.upgrade = None
    head.is_chunked = False
    head.expects_continue = False
    head.content_length = None if length is None else _length(length)
    if connection is None:
        head.is_keep_alive = head.minor == 1
    else:
        options = connection_options(connection)
        head.is_keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
        if upgrade is not None and b"upgrade" in options and head.minor:
            if coding is None and (length is None or _is_empty_get(head)):
                head.upgrade = _tunnelled(upgrade)
            if head.upgrade is not None:
                head.content_length = None
        if not options <= _PLAIN_OPTIONS:
            head.passing = _without(passing, options)
    if host is not None:
        head.host = _host(host)
    elif head.minor:
        raise bad_request("the request has no Host field")
    else:
        head.host = None
    if coding is not None:
        _check_coding(coding, head.content_length, head.minor)
        head.is_chunked = True
    if expect is not None:
        head.expects_continue = _expects_continue(expect, head.minor)


def _is_empty_get(head: RequestHead) -> bool:
    """True for a GET whose Content-Length is 0: some clients open a WebSocket with it."""
    return head.method == b"GET" and head.content_length == 0


def _tunnelled(upgrade: bytes) -> bytes | None:
    """The protocol to switch to; None where the field is ignored, as a server may (RFC 9110 7.8).

    Not to be asked for a request with a body: the upstream would read it as the new protocol, or as another request.
    """
    protocols = _members(upgrade)
    if not protocols or not all(map(_SWITCHABLE.fullmatch, protocols)):
        return None
    return b", ".join(protocols)


def _members(value: bytes) -> list[bytes]:
    """The members of a list; empty ones don't count (RFC 9110 5.6.1.2)."""
    return [member for each in value.split(b",") if (member := each.strip(b" \t"))]


def _host(value: bytes) -> bytes:
    """RFC 3986 3.2.2: other letters stand in it as A-labels, for their bytes are read in as many ways as there are."""
    if not value.isascii():
        raise bad_request("the Host field is not ASCII")
    return value.rstrip(b" \t")


def _check_coding(value: bytes, length: int | None, minor: int) -> None:
    if value.rstrip(b" \t").lower() != b"chunked":
        raise bad_request("a Transfer-Encoding other than chunked")
    if length is not None or minor == 0:
        raise bad_request("Transfer-Encoding beside Content-Length, or in HTTP/1.0")


def _expects_continue(value: bytes, minor: int) -> bool:
    """Some clients send the field with an empty value, which expects nothing."""
    if not minor:
        return False  # RFC 9110 10.1.1: an HTTP/1.0 client can't be answered 100
    members = _members(value)
    if members and (len(members) > 1 or members[0].lower() != b"100-continue"):
        raise RequestError(Reason.EXPECTATION_FAILED, "an Expect other than 100-continue")
    return bool(members)


_PLAIN_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


def _without(passing: list[bytes], options: frozenset[bytes]) -> list[bytes]:
    """`passing` without the fields that `Connection` names (RFC 9110 7.6.1)."""
    named = options - NEVER_HOP_BY_HOP
    kept: list[bytes] = []
    for at in range(0, len(passing), 4):
        if passing[at].lower() not in named:
            kept += passing[at : at + 4]
    return kept


def _length(value: bytes) -> int:
    digits = value.rstrip(b" \t")
    if not digits.isdigit() or len(digits) > MAX_LENGTH_DIGITS:
        raise bad_request("a malformed Content-Length")
    return int(digits)


def _keep_alive_seconds(value: bytes) -> int | None:
    """What `Keep-Alive: timeout=5, max=100` says of time (RFC 2068 19.7.1); None where it says nothing of it."""
    found = _KEEP_ALIVE_TIMEOUT.search(value)
    return None if found is None else int(found[1])


def has_bare_lf(data: bytes) -> bool:
    """True where a line ends in LF alone: such a head would never come to the end that we wait for."""
    return data.count(b"\n") != data.count(b"\r\n")


def bad_response(cause: str) -> RequestError:
    """The error for an upstream's answer that is not HTTP."""
    return RequestError(Reason.UPSTREAM_BAD_RESPONSE, cause)


# Servers have a handful of status lines; those of a broken one must not fill the memory.
MAX_CACHED_STATUS_LINES: Final = 256
_status_lines: Final[dict[bytes, tuple[int, int, bytes]]] = {}


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """(minor version, status, reason phrase) of a whole status line."""
    known = _status_lines.get(line)
    if known is not None:
        return known
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise bad_response("the status line is not HTTP/1.1 or HTTP/1.0")
    minor, status, reason = found.groups()
    read = (1 if minor == b"1" else 0, int(status), reason or b"")
    if len(_status_lines) < MAX_CACHED_STATUS_LINES and len(line) <= MAX_CACHED_NAME_BYTES:
        _status_lines[line] = read
    return read


def parse_response(data: bytes, end: int, classify: Classifier) -> ResponseHead:
    """The response head that starts at 0 and whose END_OF_HEAD stands at `end`. Raises `RequestError`."""
    start = data.find(b"\r\n") + 2
    head = ResponseHead()
    head.minor, head.status, head.reason = _status_line(data[:start])
    try:
        fields = parse_fields(data[start : end + 4]) if start < end + 2 else []
    except FieldsError as error:
        raise bad_response(f"header fields: {error}") from error
    try:
        _read_response_fields(head, fields, classify)
    except RequestError as error:
        raise bad_response(str(error)) from error
    return head


def _read_response_fields(head: ResponseHead, fields: Fields, classify: Classifier) -> None:
    passing, values = _sort(fields, classify)
    (length, coding, connection, _, head.upgrade) = values[CONTENT_LENGTH:FORWARDED_FOR]
    head.challenge = values[CHALLENGE]
    head.has_date = values[DATE] is not None
    head.keeps_login = (kept := values[AUTHORIZATION]) is not None and kept.strip(b" \t").lower() != b"false"
    head.keep_alive_seconds = None if (hint := values[KEEP_ALIVE]) is None else _keep_alive_seconds(hint)
    head.content_length = None if length is None else _length(length)
    head.is_chunked = coding is not None
    if coding is not None:
        _check_coding(coding, head.content_length, head.minor)
    head.passing = passing
    if connection is None:
        head.is_keep_alive = bool(head.minor)
    else:
        options = connection_options(connection)
        head.is_keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
        if not options <= _PLAIN_OPTIONS:
            head.passing = _without(passing, options)
