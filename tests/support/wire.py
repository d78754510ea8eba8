"""The two wires of HTTP: HTTP/1.1 and HTTP/2, with one interface, so that a test is written once and runs on both.

    def test_…(gateway, wire):                            # a fixture: each of them in turn
        with wire.client(gateway.port) as client:
            answer = client.ask("GET", "/webmail")        # one request and its answer

            exchange = client.start("POST", "/webmail", length=9)     # or body=b"…", or is_streamed=True
            exchange.send(b"first")
            exchange.send(b"last")                        # the announced length ends it; `finish` what is streamed
            exchange.next_head()                          # a 1xx, or the answer's status and fields
            exchange.read(5)                              # so much of its body
            exchange.answer()                             # all that is left

            socket = client.open("/webmail/socket")       # a WebSocket: Upgrade, or an extended CONNECT

An answer that was cut short raises one of `CUT_SHORT`. Names of fields are compared without their case: HTTP/2 has
only lower case.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import client
from support.client import TLS_1_2, TLS_1_3, Answer, context_for
from support.gateway import INSIDE
from support.wire_http1 import Http1Client
from support.wire_http2 import Http2Client

# HTTP/1.1: neither close_notify nor the end that the framing announced; HTTP/2: RST_STREAM, which is a reset here.
CUT_SHORT = (EOFError, ConnectionError, ssl.SSLEOFError)


@dataclass(frozen=True)
class Wire:
    """A version of HTTP over a version of TLS; without one, over what both sides agree on."""

    name: str  # in ALPN
    version: ssl.TLSVersion | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name} over {self.version.name.replace('_', ' ')}"

    @property
    def is_http2(self) -> bool:
        return self.name == "h2"

    @property
    def protocol(self) -> str:
        """As the access log names it."""
        return "HTTP/2.0" if self.is_http2 else "HTTP/1.1"

    @property
    def switched(self) -> int:
        """The status with which a WebSocket opens (RFC 8441 5); in the log it is the mail server's 101."""
        return 200 if self.is_http2 else 101

    @property
    def close(self) -> str | None:
        """The Connection field of an answer that is the last one on its connection."""
        return None if self.is_http2 else "close"

    def client(
        self, port: int, *, context: ssl.SSLContext | None = None, identity: Any = None, **options: Any
    ) -> Http1Client | Http2Client:
        """A connection; `options` as of `Client`."""
        context = context or context_for(None, identity, options.pop("version", self.version))
        context.set_alpn_protocols([self.name])
        made = (Http2Client if self.is_http2 else Http1Client)(port, context=context, **options)
        assert made.socket.selected_alpn_protocol() in ((self.name,) if self.is_http2 else (self.name, None))
        return made

    def ask(self, port: int, target: str, *fields: str, method: str = "GET", body: bytes = b"", host: str | None = None,
            **options: Any) -> Answer:  # fmt: skip
        """One request on a connection of its own; `options` as of `client`."""
        with self.client(port, **options) as made:
            return made.ask(method, target, *fields, body=body, host=host)

    def curl(self, port: int, target: str, *arguments: str, ca: Path, source: str = INSIDE,
             version: ssl.TLSVersion | None = None) -> Answer:  # fmt: skip
        """One request by curl, which verifies the gateway's certificate by `ca`."""
        options = ("--http2",) if self.is_http2 else ()
        answer = client.curl(port, target, *options, *arguments, ca=ca, source=source, version=version or self.version)
        assert answer.raw_head.startswith(b"HTTP/2 " if self.is_http2 else b"HTTP/1.1 ")
        return answer


HTTP1, HTTP2 = Wire("http/1.1"), Wire("h2")
WIRES = (HTTP1, HTTP2)
# For what depends on TLS as well. HTTP/2 over TLS 1.2 has its tests where it matters; here it would cost a third more.
WIRES_BY_VERSION = (Wire("http/1.1", TLS_1_2), Wire("http/1.1", TLS_1_3), Wire("h2", TLS_1_3))
EVERY_WIRE = (*WIRES_BY_VERSION, Wire("h2", TLS_1_2))
