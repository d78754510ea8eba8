"""A small web server whose answers a test sets: lists at URLs, and every way a server can be of no use.

with WebServer() as web:
    web.answers["/ca.crl"] = Page(crl)
    web.url("/ca.crl")
    web.requests                     # what was asked: (method, path, headers, body)
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from support.waiting import PATIENCE_SECONDS


@dataclass
class Page:
    """One answer."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    has_length: bool = True
    goes_on: threading.Event | None = None  # the second half of the body waits for it


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Page | Callable[[Seen], Page]


class WebServer:
    """Listens on loopback while it is entered."""

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        """With a certificate, over TLS."""
        self.answers: dict[str, Answer] = {}
        self.requests: list[Seen] = []
        self._scheme = "http"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            # The handshake belongs to the thread of its connection: the one that accepts waits for no client.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def url(self, path: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody answers at the URLs any more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen = Seen(self.command, self.path, dict(self.headers), body)
                web.requests.append(seen)
                answer = web.answers.get(self.path, Page(status=404))
                with contextlib.suppress(OSError):
                    self._send(answer if isinstance(answer, Page) else answer(seen))

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def _send(self, page: Page) -> None:
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                if page.has_length:
                    self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                half = len(page.body) // 2 if page.goes_on is not None else len(page.body)
                self.wfile.write(page.body[:half])
                if page.goes_on is not None:
                    page.goes_on.wait(PATIENCE_SECONDS)
                    self.wfile.write(page.body[half:])

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
