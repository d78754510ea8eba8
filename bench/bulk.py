"""Both ends of a large transfer, as lean as Python lets them be: neither is what is measured.

`python -m bench.bulk upstream PORT` answers a GET with as many bytes as its query says, and takes a POST's body;
`python -m bench.bulk client '{"port": …}'` carries one such transfer and prints the seconds that it took as JSON.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import HOST
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

PATH = "/webmail/bulk"
PIECE_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024
WAIT_SECONDS = 60.0
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_WANTED = re.compile(rb"GET [^ ?]*\?bytes=([0-9]+) ")


@dataclass(frozen=True)
class Job:
    port: int
    size_bytes: int
    is_upload: bool
    source: str
    ca: str
    client: str
    client_key: str


class End:
    """One side of a connection."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.buffer = memoryview(bytearray(PIECE_BYTES))

    def head(self) -> tuple[bytes, int]:
        """(the next head, how many bytes came behind it); an empty head at the end."""
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > HEAD_BYTES or not (piece := self.socket.recv(HEAD_BYTES)):
                return b"", 0
            data += piece
        return data[: end + 4], len(data) - end - 4

    def take(self, left_bytes: int) -> None:
        """Read so many bytes and forget them."""
        while left_bytes:
            count = self.socket.recv_into(self.buffer, min(left_bytes, PIECE_BYTES))
            if not count:
                raise SystemExit(f"the connection ended {left_bytes} bytes before the body did")
            left_bytes -= count

    def give(self, left_bytes: int) -> None:
        """Send so many bytes."""
        while left_bytes:
            count = min(left_bytes, PIECE_BYTES)
            self.socket.sendall(self.buffer[:count])
            left_bytes -= count


def serve(end: End) -> None:
    while True:
        head, here = end.head()
        if not head:
            return
        if (wanted := _WANTED.match(head)) is not None:
            size = int(wanted[1])
            end.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            end.give(size)
        else:
            length = _CONTENT_LENGTH.search(head)
            size = int(length[1]) if length is not None else 0
            end.take(size - here)
            body = b"%d" % size
            end.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def upstream(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            connected, _ = listening.accept()
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(End(connected),), daemon=True).start()


def transfer(job: Job) -> float:
    """The seconds from the request to the end of its answer."""
    context = client_context(load_certificates(Path(job.ca)))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(job.client, job.client_key)
    plain = socket.create_connection(("127.0.0.1", job.port), WAIT_SECONDS, source_address=(job.source, 0))
    with context.wrap_socket(plain, server_hostname=HOST) as connected:
        end = End(connected)
        fields = f"Host: {HOST}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        begin = time.perf_counter()
        if job.is_upload:
            request = f"POST {PATH} HTTP/1.1\r\n{fields}Content-Length: {job.size_bytes}\r\n\r\n"
            connected.sendall(request.encode())
            end.give(job.size_bytes)
        else:
            connected.sendall(f"GET {PATH}?bytes={job.size_bytes} HTTP/1.1\r\n{fields}\r\n".encode())
        head, here = end.head()
        length = _CONTENT_LENGTH.search(head)
        expected = len(str(job.size_bytes)) if job.is_upload else job.size_bytes
        if not head.startswith(b"HTTP/1.1 200") or length is None or int(length[1]) != expected:
            raise SystemExit(f"unexpected answer: {head[:600]!r}")
        end.take(expected - here)
        return time.perf_counter() - begin


def main() -> None:
    match sys.argv[1:]:
        case ["upstream", port]:
            upstream(int(port))
        case ["client", job]:
            print(json.dumps(transfer(Job(**json.loads(job)))), flush=True)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
