"""What differs in an upstream's answer if the client speaks HTTP/2. Does no I/O.

Keeps true: the client is not asked for a login that belongs to a connection if it can log in otherwise, since HTTP/2
has no connection for one login. A tunnel is opened only by a server that has read the gateway's request for it.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from gateway.errors import UpstreamError
from gateway.facts import Reason
from gateway.http.body import BodyReader
from gateway.http.challenges import read_challenges
from gateway.http.events import Head
from gateway.http.headers import value_of
from gateway.http.http1 import ResponseHead
from gateway.http.http2_head import WEBSOCKET_KEY
from gateway.proxy.exchange.answer import Answer
from gateway.proxy.exchange.connection_logins import binds_connection, continues_login

_SUCCESSFUL: Final = range(200, 300)
_CHALLENGE: Final = b"www-authenticate"
_WEBSOCKET_ACCEPT: Final = b"sec-websocket-accept"
_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3


class Http2Answer(Answer):
    """The answer to one request of an HTTP/2 client."""

    __slots__ = ()

    def _read_login(self, response: ResponseHead) -> None:
        challenge = response.challenge
        if challenge is not None and binds_connection(challenge) and not continues_login(challenge):
            _offer_others(response)
        super()._read_login(response)

    def _check_upgrade(self, response: ResponseHead) -> bytes:
        protocol = super()._check_upgrade(response)
        key = value_of(self._request.passing, WEBSOCKET_KEY) or b""
        accept = value_of(response.passing, _WEBSOCKET_ACCEPT)
        digest = hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()
        if accept is None or accept.strip(b" \t") != base64.b64encode(digest):
            raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "the upstream's Sec-WebSocket-Accept is wrong")
        response.passing = _without(response.passing, _WEBSOCKET_ACCEPT)  # the client has sent no key
        return protocol

    def _frame(self, response: ResponseHead, *, may_keep_alive: bool, is_pinned: bool) -> tuple[Head, BodyReader]:
        if self._request.upgrade is not None and response.status in _SUCCESSFUL:
            # Over HTTP/2 the client would take it for the beginning of the tunnel (RFC 8441 5).
            cause = f"the upstream answered a request for a WebSocket with {response.status}"
            raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, cause)
        return super()._frame(response, may_keep_alive=may_keep_alive, is_pinned=is_pinned)


def _offer_others(response: ResponseHead) -> None:
    """Remove the challenges for a login of the connection, if others remain and all can be read."""
    passing: list[bytes] = []
    remaining: list[bytes] = []
    for at in range(0, len(response.passing), 4):
        name, colon, value, end = response.passing[at : at + 4]
        if name.lower() == _CHALLENGE:
            challenges = read_challenges(value)
            if challenges is None:
                return
            # The scheme alone: a realm may contain anything.
            value = b", ".join(each for each in challenges if not binds_connection(each.partition(b" ")[0]))
            if not value:
                continue
            remaining.append(value)
        passing += (name, colon, value, end)
    if remaining:
        response.passing = passing
        response.challenge = b", ".join(remaining)


def _without(passing: list[bytes], name: bytes) -> list[bytes]:
    """The fields without those of this name."""
    kept: list[bytes] = []
    for at in range(0, len(passing), 4):
        if passing[at].lower() != name:
            kept += passing[at : at + 4]
    return kept
