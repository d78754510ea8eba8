"""Reads requests for published data: revocation lists, authorities' certificates and OCSP (RFC 6960, appendix A).

Keeps true: only this module reads these targets, byte by byte and before any normalisation, because the base64 of an
OCSP request may contain `/` and `+`, even two slashes in a row. Other spellings than those below are not found. A name
contains no slash or escape and does not begin with a dot.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from gateway.errors import RequestError
from gateway.facts import Reason

PREFIX: Final = b"/.well-known/gateway/"
# A request for one certificate has about 120 bytes; with a nonce and a signature less than 4 KiB.
MAX_OCSP_REQUEST_BYTES: Final = 8 * 1024
OCSP_REQUEST_TYPE: Final = b"application/ocsp-request"
# Names of authorities as `gateway ca` allows them.
_FILE: Final = re.compile(rb"(crl|ca)/([a-z0-9][a-z0-9._-]{0,62})\.(crl|crt)")
_SUFFIXES: Final = {b"crl": b"crl", b"ca": b"crt"}
_OCSP: Final = b"ocsp"
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
# Stricter than the decoder, which ignores data after the last group.
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)")
_READING: Final = b"GET, HEAD"


class Kind(StrEnum):
    """The kinds of published data."""

    LIST = "crl"
    CERTIFICATE = "ca"
    OCSP = "ocsp"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for."""

    kind: Kind
    name: str = ""  # of the authority; empty for OCSP, whose request names the certificate
    request: bytes | None = None  # the OCSP request in DER; None if it is the body of a POST


class MethodNotAllowed(RequestError):  # noqa: N818 - named for what happened
    """The target exists, but not for this method."""

    def __init__(self, allow: bytes) -> None:
        super().__init__(Reason.METHOD_NOT_ALLOWED, f"the method is not allowed here; allowed: {allow.decode('ascii')}")
        self.allow = allow


def read_target(method: bytes, target: bytes) -> Wanted | None:
    """What a target asks for; None if it is not below `PREFIX`. Raises `RequestError`."""
    if not target.startswith(PREFIX):
        return None
    rest = target[len(PREFIX) :]
    if (found := _FILE.fullmatch(rest)) is not None and _SUFFIXES[found[1]] == found[3]:
        _check(method, _READING)
        return Wanted(Kind(found[1].decode("ascii")), found[2].decode("ascii"))
    word, slash, encoded = rest.partition(b"/")
    if word != _OCSP:
        raise RequestError(Reason.NOT_FOUND, "nothing with this name is published here")
    if not encoded:
        _check(method, b"POST")
        return Wanted(Kind.OCSP)
    _check(method, _READING)
    # If a responder's URL ends in a slash, there are two; base64 of DER never begins with a slash.
    return Wanted(Kind.OCSP, request=_decoded(encoded.removeprefix(slash)))


def check_body_type(value: bytes | None) -> None:
    """Refuse a POST whose Content-Type is not an OCSP request's. Raises `RequestError`."""
    if value is not None and value.split(b";", 1)[0].strip(b" \t").lower() != OCSP_REQUEST_TYPE:
        raise RequestError(Reason.BAD_REQUEST, "the body of an OCSP request must be application/ocsp-request")


def is_unchanged(
    etag: bytes, modified: datetime | None, if_none_match: bytes | None, if_modified_since: bytes | None
) -> bool:
    """True if the client already has this version (RFC 9110 13.1.2, weak comparison, and 13.1.3)."""
    if if_none_match is None:
        since = _moment(if_modified_since)
        return modified is not None and since is not None and modified <= since
    if if_none_match.strip(b" \t") == b"*":
        return True
    return any(each.strip(b" \t").removeprefix(b"W/") == etag for each in if_none_match.split(b","))


def addresses(base: str, name: str) -> tuple[str, str, str]:
    """(URL of an authority's list, of the responder, of its certificate) on a listener that is reached at `base`."""
    root = base.rstrip("/") + PREFIX.decode("ascii")
    return f"{root}crl/{name}.crl", f"{root}ocsp", f"{root}ca/{name}.crt"


def _check(method: bytes, allow: bytes) -> None:
    if method not in allow.split(b", "):
        raise MethodNotAllowed(allow)


def _moment(value: bytes | None) -> datetime | None:
    try:
        found = None if value is None else parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else found


def _decoded(encoded: bytes) -> bytes:
    text = _ESCAPE.sub(lambda escape: bytes((int(escape[1], 16),)), encoded)
    if _BASE64.fullmatch(text) is None:
        raise RequestError(Reason.BAD_REQUEST, "the text after /ocsp/ is not an OCSP request in base64")
    request = base64.b64decode(text)
    if len(request) > MAX_OCSP_REQUEST_BYTES:
        raise RequestError(Reason.URI_TOO_LONG, f"an OCSP request is longer than {MAX_OCSP_REQUEST_BYTES} bytes")
    return request
