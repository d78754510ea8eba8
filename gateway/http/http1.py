"""Parses HTTP/1.1 message heads (RFC 9112). Does no I/O.

Keeps true: a head can be read in only one way, or it is refused. Start lines are matched against the grammar of RFC
9112, field sections are parsed by `fields.parse_fields`, and framing (RFC 9112 section 6) is decided only here. What is
forwarded is written from the parsed values, never copied.
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

# Every method that is in use, and RPC_IN_DATA. No lower case: a server that reads `head` as HEAD would end its answer
# elsewhere than the gateway expects (RFC 9110 9.1: case counts). No CONNECT: after a successful answer there is no
# framing. No TRACE: the answer would show the client the fields that the gateway adds (RFC 9110 9.3.8).
_METHOD: Final = rb"(?!(?:CONNECT|TRACE) )[A-Z][A-Z0-9_-]{0,31}"
# RFC 9112 3: exactly one space each. policy.uri checks the target's characters; here only controls and space are
# refused.
_REQUEST_LINE: Final = re.compile(rb"(" + _METHOD + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
# RFC 9112 3.2.2; user information can make a host look like another, so it is refused.
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@\\]+)((?:/[^?]*)?)(\?.*)?", re.IGNORECASE | re.DOTALL)
# A parameter at the start or after a comma. More than nine digits (30 years) are ignored.
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?:^|,)[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
# No real body has 10^18 bytes; 18 digits keep the length below 2^63, where servers' integers end.
MAX_LENGTH_DIGITS: Final = 18
# What an `Upgrade` may ask for (RFC 9110 7.8). Never h2c, HTTP/2.0, SPDY or TLS/1.0 (RFC 2817), nor anything that a
# careless server could mistake for one: they would carry requests that the gateway doesn't judge.
_SWITCHABLE: Final = re.compile(
    rb"(?!h[23]|http|spdy|tls|ssl)[!#$%&'*+\-.^_`|~0-9A-Z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Z]+)?", re.IGNORECASE
)
# A request line without its target: a method of 32 bytes, two spaces and the version are 42 bytes.
_LINE_OVERHEAD_BYTES: Final = 64

# The versions of a request. Only HTTP_1_0 is false.
HTTP_1_0: Final = 0
HTTP_1_1: Final = 1
HTTP_2: Final = 2

END_OF_HEAD: Final = b"\r\n\r\n"
# Field sections up to this length are kept to recognise repeated requests; there may be many idle connections.
MAX_KNOWN_SECTION_BYTES: Final = 2048
_SLASH: Final = 0x2F


class RequestHead:
    """A request's head: filled by `parse_request` or `http2_head`, then never changed."""

    __slots__ = (
        "content_length",
        "expects_continue",
        "host",
        "is_chunked",
        "is_keep_alive",
        "method",
        "passing",
        "section",
        "target",
        "upgrade",
        "values",
        "version",
    )

    method: bytes
    target: bytes  # origin-form, "*" or authority-form; absolute-form is split into host and this
    version: int  # HTTP_1_0, HTTP_1_1 or HTTP_2
    host: bytes | None  # as sent; from the absolute form if there was one
    passing: list[bytes]  # name, ": ", value, CRLF, … of every field that is forwarded
    section: bytes  # the field section, to recognise a repetition; empty if that is not safe
    values: list[bytes | None]  # the values kept for the gateway, by `headers`' kinds: values[USER_AGENT]
    content_length: int | None
    is_chunked: bool
    is_keep_alive: bool
    expects_continue: bool
    upgrade: bytes | None  # the protocols to switch to, if asked for correctly and without a body

    @property
    def has_body(self) -> bool:
        """True if a body follows."""
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
    keep_alive_seconds: int | None  # how long the server keeps an idle connection; None if it doesn't say
    keeps_login: bool  # the server says that the connection stays logged in
    upgrade: bytes | None


def bad_request(cause: str) -> RequestError:
    """The error for a request that is not HTTP."""
    return RequestError(Reason.BAD_REQUEST, cause)


def check_unfinished(data: bytes, *, uri_bytes: int, header_bytes: int) -> None:
    """Refuse early what can't become a valid head: too long, a line ends in a bare LF, or the request line is wrong.

    Never refuses what `parse_request` would accept once it is complete.
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
    # Up to three bytes may be the beginning of END_OF_HEAD.
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
    """The head that starts at 0 and whose END_OF_HEAD is at `end`. Raises `RequestError`.

    `known`: an earlier head, parsed with the same `classify` and limits. Clients often repeat the same fields, and
    their meaning depends only on their bytes and the version.
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
    # Without fields, the CRLF of the request line is the first half of END_OF_HEAD.
    section = data[start : end + 4] if start < end + 2 else b""
    is_origin_form = target[0] == _SLASH
    version = HTTP_1_1 if minor == b"1" else HTTP_1_0
    if known is not None and section and known.section == section and known.version == version and is_origin_form:
        return _known_again(known, method, target)
    try:
        fields = parse_fields(section) if section else []
    except FieldsError as error:
        raise bad_request(f"header fields: {error}") from error
    if len(fields) > headers:
        raise too_many_fields(headers)
    head = RequestHead()
    head.method = method
    head.version = version
    _read_request_fields(head, fields, classify)
    if is_origin_form:
        head.target = target
        # The meaning of an Upgrade with a length of 0 depends on the method, which is not in the section.
        is_whole = head.values[UPGRADE] is None or head.values[CONTENT_LENGTH] is None
        head.section = section if is_whole and len(section) <= MAX_KNOWN_SECTION_BYTES else b""
    else:
        head.section = b""  # the host may come from the target
        _other_form(head, target)
    return head


def _known_again(known: RequestHead, method: bytes, target: bytes) -> RequestHead:
    """A head with the fields of an earlier one; both share them, and they are never changed."""
    head = RequestHead()
    head.method = method
    head.target = target
    head.version = known.version
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


def too_many_fields(headers: int) -> RequestError:
    """The error for a request with more fields than this."""
    return RequestError(Reason.HEADERS_TOO_LARGE, f"more than {headers} header fields")


def _bad_request_line(data: bytes, uri_bytes: int) -> RequestError:
    if data.find(b"\r\n") > uri_bytes + _LINE_OVERHEAD_BYTES:
        return _uri_too_long(uri_bytes)
    return bad_request("the request line is not HTTP/1.1 or HTTP/1.0, or its method is not supported")


def _other_form(head: RequestHead, target: bytes) -> None:
    """Read a target that does not start with a slash: absolute-form must agree with Host (RFC 9112 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        # Authority-form is only for CONNECT; the policy refuses it and "*".
        head.target = target
        return
    authority, path, query = absolute.groups()
    if head.host is not None and head.host.lower() != authority.lower():
        raise bad_request("the host in the request target differs from the Host field")
    head.host = _host(authority)
    head.target = (path or b"/") + (query or b"")


def sort_fields(fields: Fields, classify: Classifier) -> tuple[list[bytes], list[bytes | None]]:
    """One pass over the fields: (forwarded fields, flattened; values for the gateway, by kind)."""
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
    passing, values = sort_fields(fields, classify)
    head.passing = passing
    head.values = values
    (host, length, coding, connection, expect, upgrade) = values[HOST:FORWARDED_FOR]
    head.upgrade = None
    head.is_chunked = False
    head.expects_continue = False
    head.content_length = None if length is None else _length(length)
    if connection is None:
        head.is_keep_alive = head.version == HTTP_1_1
    else:
        options = connection_options(connection)
        head.is_keep_alive = b"close" not in options and (head.version == HTTP_1_1 or b"keep-alive" in options)
        if upgrade is not None and b"upgrade" in options and head.version:
            if coding is None and (length is None or _is_empty_get(head)):
                head.upgrade = _tunnelled(upgrade)
            if head.upgrade is not None:
                head.content_length = None
        if not options <= _PLAIN_OPTIONS:
            head.passing = _without(passing, options)
    if host is not None:
        head.host = _host(host)
    elif head.version:
        raise bad_request("the request has no Host field")
    else:
        head.host = None
    if coding is not None:
        _check_coding(coding, head.content_length, head.version)
        head.is_chunked = True
    if expect is not None:
        head.expects_continue = expects_continue(expect, head.version)


def _is_empty_get(head: RequestHead) -> bool:
    """True for a GET with Content-Length 0, with which some clients open a WebSocket."""
    return head.method == b"GET" and head.content_length == 0


def _tunnelled(upgrade: bytes) -> bytes | None:
    """The protocols to switch to; None if the field is ignored, as a server may (RFC 9110 7.8).

    Must not be called for a request with a body: the upstream would read it as the new protocol, or as a request.
    """
    protocols = _members(upgrade)
    if not protocols or not all(map(_SWITCHABLE.fullmatch, protocols)):
        return None
    return b", ".join(protocols)


def _members(value: bytes) -> list[bytes]:
    """The members of a list; empty ones don't count (RFC 9110 5.6.1.2)."""
    return [member for each in value.split(b",") if (member := each.strip(b" \t"))]


def _host(value: bytes) -> bytes:
    """Refuse a host that is not ASCII (RFC 3986 3.2.2 asks for A-labels): servers read such bytes differently."""
    if not value.isascii():
        raise bad_request("the Host field is not ASCII")
    return value.rstrip(b" \t")


def _check_coding(value: bytes, length: int | None, minor: int) -> None:
    if value.rstrip(b" \t").lower() != b"chunked":
        raise bad_request("a Transfer-Encoding other than chunked")
    if length is not None or minor == 0:
        raise bad_request("Transfer-Encoding beside Content-Length, or in HTTP/1.0")


def expects_continue(value: bytes, version: int) -> bool:
    """True for 100-continue. Some clients send the field with an empty value, which expects nothing."""
    if not version:
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
    """The timeout in `Keep-Alive: timeout=5, max=100` (RFC 2068 19.7.1); None without one."""
    found = _KEEP_ALIVE_TIMEOUT.search(value)
    return None if found is None else int(found[1])


def has_bare_lf(data: bytes) -> bool:
    """True if a line ends in LF without CR: such a head would never reach END_OF_HEAD."""
    return data.count(b"\n") != data.count(b"\r\n")


def bad_response(cause: str) -> RequestError:
    """The error for an upstream's answer that is not HTTP."""
    return RequestError(Reason.UPSTREAM_BAD_RESPONSE, cause)


# Servers use a handful of status lines; those of a broken server must not fill the memory.
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
    """The response head that starts at 0 and whose END_OF_HEAD is at `end`. Raises `RequestError`."""
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
    passing, values = sort_fields(fields, classify)
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
