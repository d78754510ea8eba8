"""A sample mail server for the demo: a webmail page, and an ActiveSync endpoint that answers OPTIONS and Ping.

It listens on loopback, in a separate thread, and trusts the gateway's headers, as a mail server behind it would.
"""

from __future__ import annotations

import contextlib
import html
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

ACTIVESYNC_PATH: Final = "/microsoft-server-activesync"
WBXML_TYPE: Final = "application/vnd.ms-sync.wbxml"
# The largest body that is read, so that a wrong request can't fill the memory.
MAX_BODY_BYTES: Final = 64 * 1024
# <Ping><Status>1</Status></Ping> (MS-ASWBXML, code page 13): the heartbeat is over and nothing has changed.
PING_ANSWER: Final = bytes.fromhex("03016a00000d45470331000101")
ACTIVESYNC_HEADERS: Final = {
    "MS-Server-ActiveSync": "16.1",
    "MS-ASProtocolVersions": "14.0,14.1,16.0,16.1",
    "MS-ASProtocolCommands": "Ping",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sample webmail</title>
<style>
body{{font:16px/1.5 system-ui;margin:3rem auto;max-width:40rem;padding:0 1rem}}
td{{padding:.2rem 1rem .2rem 0}}
</style>
<h1>Sample webmail</h1>
<p>You are in, {who}. This is what the gateway tells the mail server about you:</p>
<table>{rows}</table>
</html>
"""
_TOLD: Final = (
    "X-Forwarded-For",
    "X-Client-Verified",
    "X-Client-Subject",
    "X-Client-Email",
    "X-Client-Serial",
    "X-Request-Id",
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "sample-mail"
    sys_version = ""

    def do_GET(self) -> None:
        rows = "".join(
            f"<tr><td>{name}<td>{html.escape(value)}" for name in _TOLD if (value := self.headers.get(name)) is not None
        )
        who = html.escape(self.headers.get("X-Client-Email") or "without a certificate")
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", _PAGE.format(who=who, rows=rows).encode())

    def do_OPTIONS(self) -> None:
        if not self._is_activesync():
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"OPTIONS is for ActiveSync\n")
            return
        self._answer(HTTPStatus.OK, "text/plain", b"", ACTIVESYNC_HEADERS)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain", b"at most 64 KiB, with Content-Length\n")
            return
        self.rfile.read(int(length))
        command = parse_qs(urlsplit(self.path).query).get("Cmd")
        if not self._is_activesync() or command != ["Ping"]:
            self._answer(HTTPStatus.NOT_IMPLEMENTED, "text/plain", b"the sample knows only Ping\n")
            return
        self._answer(HTTPStatus.OK, WBXML_TYPE, PING_ANSWER, ACTIVESYNC_HEADERS)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Log nothing: the gateway's access log has every request."""

    def _is_activesync(self) -> bool:
        return urlsplit(self.path).path.lower() == ACTIVESYNC_PATH

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # the gateway keeps its connections open


@contextlib.contextmanager
def running() -> Iterator[int]:
    """Serve on a free port of 127.0.0.1 for as long as the block lasts; yields the port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="sample mail server"
        )
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
