"""Turns an HTTP/2 request into the head that is judged and forwarded, as `http1` does for HTTP/1.1. Does no I/O.

Keeps true: each part of a head means the same for both versions, so a request can be written as HTTP/1.1 whatever the
client sent. An extended CONNECT for a WebSocket (RFC 8441) becomes the GET of RFC 6455 before it is judged.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from gateway.http.headers import EXPECT, Classifier, fold
from gateway.http.http1 import HTTP_2, RequestHead, bad_request, expects_continue, sort_fields, too_many_fields
from gateway.http.http2_requests import Request

# Other protocols could carry requests that the gateway doesn't judge.
_WEBSOCKET: Final = b"websocket"
WEBSOCKET_KEY: Final = b"sec-websocket-key"
_KEY_BYTES: Final = 16  # RFC 6455 4.1


def request_head(request: Request, classify: Classifier, *, headers: int) -> RequestHead:
    """The head of this request. Raises `RequestError`."""
    _, method, authority, target, protocol, fields, length, has_body = request
    if len(fields) >= headers:  # as over HTTP/1.1, Host is one of them
        raise too_many_fields(headers)
    head = RequestHead()
    head.method = method
    head.target = target
    head.version = HTTP_2
    head.host = authority
    head.passing, head.values = sort_fields(fields, classify)
    head.section = b""
    head.content_length = length
    head.is_chunked = has_body and length is None
    head.is_keep_alive = True
    expect = head.values[EXPECT]
    head.expects_continue = expect is not None and expects_continue(expect, HTTP_2)
    head.upgrade = None
    if protocol is not None:
        _become_websocket(head, protocol)
    return head


def _become_websocket(head: RequestHead, protocol: bytes) -> None:
    """Make an extended CONNECT the GET that opens a WebSocket over HTTP/1.1 (RFC 6455 4.1)."""
    if protocol.lower() != _WEBSOCKET:
        raise bad_request("the protocol of an extended CONNECT is not websocket")
    if head.content_length is not None:
        raise bad_request("an extended CONNECT has a content-length")
    head.method = b"GET"
    head.is_chunked = False
    head.upgrade = _WEBSOCKET
    # HTTP/2 needs no key (RFC 8441 5), but the upstream does.
    passing = head.passing
    kept = [
        part for at in range(0, len(passing), 4) if fold(passing[at]) != WEBSOCKET_KEY for part in passing[at : at + 4]
    ]
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES))
    head.passing = [*kept, b"Sec-WebSocket-Key", b": ", key, b"\r\n"]
