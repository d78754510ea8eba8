"""Reads the address of an ACME http-01 challenge (RFC 8555, 8.3): `/.well-known/acme-challenge/TOKEN`.

Keeps true: the target is read byte by byte, before any normalisation. A token contains no dot, slash or escape, so it
names a file in exactly one folder.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.published import MethodNotAllowed

PREFIX: Final = b"/.well-known/acme-challenge/"
# RFC 8555 asks for at least 22 characters and sets no maximum; Let's Encrypt uses 43. File names have at most 255
# bytes.
MAX_TOKEN_CHARACTERS: Final = 128
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{1,%d}" % MAX_TOKEN_CHARACTERS)
_METHODS: Final = b"GET, HEAD"


def read_token(method: bytes, target: bytes) -> str | None:
    """The token that a request asks for; None for a target that is not below `PREFIX`. Raises `RequestError`."""
    if not target.startswith(PREFIX):
        return None
    token = target[len(PREFIX) :]
    if _TOKEN.fullmatch(token) is None:
        raise no_challenge()
    if method not in _METHODS.split(b", "):
        raise MethodNotAllowed(_METHODS)
    return token.decode("ascii")


def no_challenge() -> RequestError:
    """The refusal of a token that does not exist."""
    return RequestError(Reason.NOT_FOUND, "this challenge does not exist")
