"""A proxy as none should be: believes Content-Length, passes on Transfer-Encoding, and shares one connection.

It keeps a log like the gateway's and tells in it what it believes to have forwarded. It is there to show that the
tests see a smuggled request where there is one.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from typing import Any

from support.client import Stream
from support.waiting import PATIENCE_SECONDS

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)


class NaiveProxy:
    """Listens with TLS on loopback until `stop`, in front of one server."""

    def __init__(self, context: ssl.SSLContext, upstream: str) -> None:
        """`upstream`: http://address:port."""
        host, _, port = upstream.removeprefix("http://").partition(":")
        self._context = context
        self._upstream = Stream(socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS))
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._records: list[dict[str, Any]] = []
        self._threads = [threading.Thread(target=self._accept, name="naive proxy accepts")]
        self._threads[0].start()

    def records(self) -> list[dict[str, Any]]:
        """Its access log."""
        return list(self._records)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._upstream.socket.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plain,), name="naive proxy serves")
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), self._context.wrap_socket(plain, server_side=True) as client:
            stream = Stream(client)
            while head := stream.read_until(b"\r\n\r\n"):
                length = _LENGTH.search(head)
                body = stream.read(int(length[1])) if length else b""
                client.sendall(self._forward(head, body))

    def _forward(self, head: bytes, body: bytes) -> bytes:
        method, target, _ = head.split(b" ", 2)
        with self._lock:
            request_id = f"naive-{len(self._records)}"
            record = {"request_id": request_id, "method": method.decode(), "uri": target.decode()}
            self._records.append({**record, "upstream": "naive", "upstream_status": None})
            if re.search(rb"transfer-encoding", head, re.IGNORECASE):
                head = _LENGTH.sub(b"", head)
            self._upstream.socket.sendall(head[:-2] + b"X-Request-Id: " + request_id.encode() + b"\r\n\r\n" + body)
            answer = self._upstream.answer(method.decode())
            self._records[-1]["upstream_status"] = answer.status
        fields = "".join(f"{name}: {value}\r\n" for name, value in answer.fields if name == "X-Seen")
        line = f"HTTP/1.1 {answer.status} Naive\r\n{fields}Content-Length: {len(answer.body)}\r\n\r\n"
        return line.encode("latin-1") + answer.body
