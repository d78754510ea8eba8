"""Reads WebDAV's `Destination`, the path to which COPY and MOVE write (RFC 4918 sections 9.8, 9.9 and 10.3).

Keeps true: its host is the request's host, and the rules judge exactly the spelling that the upstream gets.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.policy.uri import Target, normalise

_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(/.*)?", re.IGNORECASE | re.DOTALL)
_HTTPS_PORT: Final = b":443"


def read_destination(value: bytes, host: bytes) -> tuple[bool, Target]:
    """(whether the field names its host, its target) of a `Destination` in a request to `host`.

    Raises `RequestError`: `bad_request` for another host or scheme, `uri_rejected` for a path that can be read in two
    ways.
    """
    value = value.rstrip(b" \t")  # not part of the field's value (RFC 9110 5.5)
    if value.startswith(b"/") and not value.startswith(b"//"):
        return False, normalise(value)
    absolute = _ABSOLUTE.fullmatch(value)
    if absolute is None or _authority(absolute[1]) != _authority(host):
        raise RequestError(Reason.BAD_REQUEST, "Destination names another host than the request")
    return True, normalise(absolute[2] or b"/")


def _authority(host: bytes) -> bytes:
    """The spelling for comparison: port 443 may be given or not (RFC 9110 4.2.3)."""
    return host.lower().removesuffix(_HTTPS_PORT)
