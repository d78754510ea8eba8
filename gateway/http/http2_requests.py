"""Reads the field lists of HTTP/2 requests (RFC 9113 section 8). Does no I/O.

Keeps true: a list that RFC 9113 calls malformed never becomes a request. What a request consists of can be written as
HTTP/1.1 without another check: no field is about the connection, names are tokens, values have no control characters
and no white space around them, the target has none at all, and there is one host.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.errors import GatewayError, RequestError
from gateway.facts import Reason
from gateway.http.fields import Fields
from gateway.http.headers import MAX_CACHED_NAME_BYTES, MAX_CACHED_NAMES
from gateway.http.http1 import MAX_LENGTH_DIGITS, bad_request


class MalformedError(GatewayError):
    """The message is malformed (RFC 9113 8.1.1): its stream ends."""


class Request(NamedTuple):
    """A request's head. An event."""

    stream_id: int
    method: bytes
    authority: bytes  # from `:authority`, else from Host
    target: bytes  # origin-form or "*"
    protocol: bytes | None  # of an extended CONNECT (RFC 8441)
    fields: Fields  # without Host; names in lower case, cookies joined
    content_length: int | None
    has_body: bool  # False if the request ends with its head


# How a field is treated; names that are not in the table pass.
_PASS: Final = 0
_HOST: Final = 1
_LENGTH: Final = 2
_COOKIE: Final = 3
_TE: Final = 4
_KINDS: Final = {b"cookie": _COOKIE, b"host": _HOST, b"content-length": _LENGTH, b"te": _TE}
# RFC 9113 8.2.2: they are about an HTTP/1.1 connection.
CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)

_METHOD_PLACE: Final = 0
_SCHEME_PLACE: Final = 1
_AUTHORITY_PLACE: Final = 2
_PATH_PLACE: Final = 3
_PROTOCOL_PLACE: Final = 4
_PSEUDO: Final = {
    b":method": _METHOD_PLACE,
    b":scheme": _SCHEME_PLACE,
    b":authority": _AUTHORITY_PLACE,
    b":path": _PATH_PLACE,
    b":protocol": _PROTOCOL_PLACE,
}

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# As `http1` reads them; CONNECT is supported with a protocol only.
_METHOD: Final = re.compile(rb"(?!TRACE$)[A-Z][A-Z0-9_-]{0,31}")
_USUAL_METHODS: Final = frozenset({b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"})
_SCHEMES: Final = frozenset({b"https", b"http"})
# Visible ASCII. User information can make a host look like another, so it is refused (RFC 9113 8.3.1).
_AUTHORITY: Final = re.compile(rb"[^\x00-\x20\x7f-\xff/?#@\\]+")
# RFC 9110 5.5: what a value consists of. Space and tab may not be at its ends (RFC 9113 8.2.1).
_VALUE_BYTES: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_SLASH: Final = 0x2F
_COLON: Final = 0x3A


class _Names(dict[bytes, int]):
    """Field name → how it is treated; only names that may be there. Cleared at `MAX_CACHED_NAMES`."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> int:
        if _NAME.fullmatch(name) is None:
            raise MalformedError("a field name is not a token in lower case")
        if name in CONNECTION_SPECIFIC:
            raise MalformedError(f"the field {name.decode('ascii')} is about an HTTP/1.1 connection")
        kind = _KINDS.get(name, _PASS)
        if len(name) <= MAX_CACHED_NAME_BYTES:
            if len(self) >= MAX_CACHED_NAMES:
                self.clear()
            self[name] = kind
        return kind


_names: Final = _Names()


def read_request(stream_id: int, listed: Fields, *, has_body: bool, uri_bytes: int) -> Request:
    """The request with these fields. Raises `MalformedError`; `RequestError` for one that can be answered."""
    _check_values(listed)
    pseudo, first = _pseudo_fields(listed)
    fields, host, length = _regular_fields(listed, first)
    method, scheme, authority, path, protocol = pseudo
    if method is None or _TOKEN.fullmatch(method) is None:
        raise MalformedError("there is no valid :method")
    is_tunnel = method == b"CONNECT" and protocol is None
    if is_tunnel:
        if scheme is not None or path is not None or authority is None:
            raise MalformedError("a CONNECT has :scheme or :path, or no :authority")
        path = b""
    else:
        if scheme not in _SCHEMES:
            raise MalformedError("there is no :scheme of http or https")
        if not path or (path[0] != _SLASH and (path != b"*" or method != b"OPTIONS")) or b" " in path or b"\t" in path:
            raise MalformedError("there is no valid :path")
        if protocol is not None and (method != b"CONNECT" or _TOKEN.fullmatch(protocol) is None):
            raise MalformedError("a :protocol is no token, or the method is not CONNECT")
    if not has_body and length:
        raise MalformedError("the request ends before its content-length")
    authority = _one_host(authority, host)
    if is_tunnel or (method not in _USUAL_METHODS and _METHOD.fullmatch(method) is None):
        raise bad_request("the method is not supported")
    if len(path) > uri_bytes:
        raise RequestError(Reason.URI_TOO_LONG, f"the URI is longer than {uri_bytes} bytes")
    return Request(stream_id, method, authority, path, protocol, fields, length, has_body)


def read_trailers(listed: Fields) -> Fields:
    """The trailer fields. Raises `MalformedError`."""
    _check_values(listed)
    for name, _ in listed:
        if _names[name] in {_HOST, _LENGTH}:
            raise MalformedError(f"{name.decode('ascii')} is in the trailers")
    return listed


def _check_values(listed: Fields) -> None:
    """Refuse control characters in values, and white space around them; all values in one pass."""
    values = b"\n" + b"\n".join([value for _, value in listed]) + b"\n"
    # Only the line ends put between the values are left, unless a value has a line end or another control character.
    if values.translate(None, _VALUE_BYTES) != b"\n" * (len(listed) + 1 if listed else 2):
        raise MalformedError("a field value has control characters")
    if b"\n " in values or b" \n" in values or b"\n\t" in values or b"\t\n" in values:
        raise MalformedError("a field value begins or ends with white space")


def _pseudo_fields(listed: Fields) -> tuple[list[bytes | None], int]:
    """(values of the pseudo-header fields, where the regular fields begin)."""
    found: list[bytes | None] = [None] * len(_PSEUDO)
    first = 0
    for name, value in listed:
        if not name or name[0] != _COLON:
            break
        place = _PSEUDO.get(name)
        if place is None:
            raise MalformedError("an unknown pseudo-header field")
        if found[place] is not None:
            raise MalformedError(f"more than one {name.decode('ascii')}")
        found[place] = value
        first += 1
    return found, first


def _regular_fields(listed: Fields, first: int) -> tuple[Fields, bytes | None, int | None]:
    """(fields without Host, Host, content-length). Cookies are joined where the first one was (RFC 9113 8.2.3)."""
    fields: Fields = []
    cookies: list[bytes] = []
    cookies_at = 0
    once: list[bytes | None] = [None] * _COOKIE  # by kind
    names = _names
    for field in listed[first:]:
        kind = names[field[0]]
        if kind:
            name, value = field
            if kind == _COOKIE:
                cookies.append(value)
                if len(cookies) > 1:
                    continue
                cookies_at = len(fields)
            elif kind == _TE:
                if value.lower() != b"trailers":
                    raise MalformedError("te is not trailers")
            elif once[kind] is not None:
                raise MalformedError(f"more than one {name.decode('ascii')}")
            else:
                once[kind] = value
                if kind == _HOST:
                    continue
        fields.append(field)
    if len(cookies) > 1:
        fields[cookies_at] = (b"cookie", b"; ".join(cookies))
    host, length = once[_HOST], once[_LENGTH]
    return fields, host, None if length is None else _length(length)


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise MalformedError("a malformed content-length")
    return int(value)


def _one_host(authority: bytes | None, host: bytes | None) -> bytes:
    named = host if authority is None else authority
    if named is None or _AUTHORITY.fullmatch(named) is None:
        raise MalformedError("there is no valid :authority or host")
    if host is not None and host.lower() != named.lower():
        # RFC 9113 8.3.1 calls it malformed. A browser repeats a request that is answered 421 on another connection.
        raise RequestError(Reason.HOST_MISMATCH, ":authority and host differ")
    return named
