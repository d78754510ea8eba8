"""What is published for everybody: revocation lists, authorities' certificates, and OCSP (RFC 6960, appendix A).

Keeps true: these targets are read here alone, byte for byte and before any normalisation: the base64 of an OCSP request
holds `/` and `+`, two slashes in a row among them. What is not written exactly as below names nothing, and a name can
hold no slash, no escape and no dot at its beginning.
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
# A request for one certificate is about 120 bytes, with a nonce and a signature below 4 KiB.
MAX_OCSP_REQUEST_BYTES: Final = 8 * 1024
OCSP_REQUEST_TYPE: Final = b"application/ocsp-request"
# Names of authorities as the desk makes them.
_FILE: Final = re.compile(rb"(crl|ca)/([a-z0-9][a-z0-9._-]{0,62})\.(crl|crt)")
_SUFFIXES: Final = {b"crl": b"crl", b"ca": b"crt"}
_OCSP: Final = b"ocsp"
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
# Stricter than the decoder, which passes over what stands behind the last group.
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)")
_READING: Final = b"GET, HEAD"


class Kind(StrEnum):
    """What is asked for."""

    LIST = "crl"
    CERTIFICATE = "ca"
    OCSP = "ocsp"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing that is published."""

    kind: Kind
    name: str = ""  # of the authority; empty for OCSP, where the request says whose certificate it is about
    request: bytes | None = None  # OCSP's, in DER; None where it is the body of a POST


class MethodNotAllowed(RequestError):  # noqa: N818 - named for what happened
    """There is such a thing, but it is asked for in another way."""

    def __init__(self, allow: bytes) -> None:
        super().__init__(Reason.METHOD_NOT_ALLOWED, f"the method is not allowed here; allowed: {allow.decode('ascii')}")
        self.allow = allow


def read_target(method: bytes, target: bytes) -> Wanted | None:
    """What a request's target names; None for one that is not below `PREFIX`. Raises `RequestError`."""
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
    # A responder's URL that ends in a slash makes two; no DER in base64 begins with one.
    return Wanted(Kind.OCSP, request=_decoded(encoded.removeprefix(slash)))


def check_body_type(value: bytes | None) -> None:
    """Refuse a POST that says it holds something else than a question. Raises `RequestError`."""
    if value is not None and value.split(b";", 1)[0].strip(b" \t").lower() != OCSP_REQUEST_TYPE:
        raise RequestError(Reason.BAD_REQUEST, "the body of an OCSP request must be application/ocsp-request")


def is_unchanged(
    etag: bytes, modified: datetime | None, if_none_match: bytes | None, if_modified_since: bytes | None
) -> bool:
    """Whether the client has it already (RFC 9110 13.1.2, weak comparison, and 13.1.3)."""
    if if_none_match is None:
        since = _moment(if_modified_since)
        return modified is not None and since is not None and modified <= since
    if if_none_match.strip(b" \t") == b"*":
        return True
    return any(each.strip(b" \t").removeprefix(b"W/") == etag for each in if_none_match.split(b","))


def addresses(base: str, name: str) -> tuple[str, str, str]:
    """The URLs of an authority's list, of the responder and of its certificate, on a listener that is reached there."""
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
