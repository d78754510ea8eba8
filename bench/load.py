"""The load generator: one process, one epoll loop, as little Python a request as possible.

`python -m bench.load '{"port": …}'` opens its connections and warms up, prints "ready", waits for a line, sends the
requests, prints the result as JSON, and holds its connections until its input ends. Each answer's status and
length are checked, and the whole body of the first answer on each connection.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import HOST
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
BUFFER_BYTES = 128 * 1024
POLL_SECONDS = 20.0
# A browser's request, behind its path.
REQUEST_FIELDS = (
    f" HTTP/1.1\r\nHost: {HOST}\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en\r\n"
    "Accept-Encoding: identity\r\nCookie: session=5dba1f4e7c2f4d7a9d1b\r\n\r\n"
).encode()


@dataclass(frozen=True)
class Job:
    port: int
    path: str
    body_bytes: int
    source: str  # the client's own address
    ca: str
    client: str | None  # certificate and key; None shows none
    client_key: str | None
    tls: str  # "1.2" or "1.3"
    connections: int
    requests: int
    warm_up: int
    is_new_connection_each: bool  # a full handshake for each request
    is_varied: bool  # another URI for each request


class Connection:
    __slots__ = ("buffer", "filled", "is_checked", "needed", "socket")

    def __init__(self, connected: ssl.SSLSocket) -> None:
        self.socket = connected
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.filled = 0
        self.needed = 0  # the answer's bytes, head and body; 0 until the head is there
        self.is_checked = False


class Load:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.context = client_context(load_certificates(Path(job.ca)))
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[job.tls]
        self.context.minimum_version = self.context.maximum_version = version
        if job.client:
            self.context.load_cert_chain(job.client, job.client_key)
        self.numbers = itertools.count() if job.is_varied else None
        self.path = b"GET " + job.path.encode()
        self.expected = b"x" * job.body_bytes
        self.epoll = select.epoll()
        self.open: dict[int, Connection] = {}

    def request(self) -> bytes:
        if self.numbers is None:
            return self.path + REQUEST_FIELDS
        return b"%b?message=%d%b" % (self.path, next(self.numbers), REQUEST_FIELDS)

    def connect(self) -> Connection:
        raw = socket.create_connection(
            ("127.0.0.1", self.job.port), timeout=POLL_SECONDS, source_address=(self.job.source, 0)
        )
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self.context.wrap_socket(raw, server_hostname=HOST, do_handshake_on_connect=False))
        connection.socket.setblocking(False)
        self.open[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket.fileno(), select.EPOLLIN)
        self.begin(connection)
        return connection

    def begin(self, connection: Connection) -> bool:
        """Carry the handshake on; True when it is finished, the first request then being on its way."""
        try:
            connection.socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        connection.needed = -1
        connection.socket.write(self.request())
        return True

    def close(self, connection: Connection) -> None:
        descriptor = connection.socket.fileno()
        self.epoll.unregister(descriptor)
        del self.open[descriptor]
        with contextlib.suppress(OSError):
            connection.socket.unwrap()  # sends close_notify; the server's own is not waited for
        connection.socket.close()

    def readable(self, connection: Connection) -> bool:
        """Read what is there; True when the answer is complete."""
        if connection.needed == 0:
            self.begin(connection)
            return False
        while True:
            try:
                count = connection.socket.recv_into(connection.buffer[connection.filled :])
            except ssl.SSLWantReadError:
                return False
            if not count:
                raise SystemExit("the server closed a connection")
            connection.filled += count
            if connection.needed < 0:
                self.read_head(connection)
            if connection.filled == connection.needed:
                self.check(connection)
                return True

    def read_head(self, connection: Connection) -> None:
        head = bytes(connection.buffer[: min(connection.filled, 8192)])
        end = head.find(b"\r\n\r\n")
        if end < 0:
            return
        length = CONTENT_LENGTH.search(head, 0, end + 2)
        if not head.startswith(b"HTTP/1.1 200") or length is None or int(length[1]) != self.job.body_bytes:
            raise SystemExit(f"unexpected answer: {head[:600]!r}")
        connection.needed = end + 4 + self.job.body_bytes

    def check(self, connection: Connection) -> None:
        if not connection.is_checked:
            connection.is_checked = True
            if connection.buffer[connection.needed - self.job.body_bytes : connection.needed] != self.expected:
                raise SystemExit("the body is not the one the upstream sent")
        connection.filled = 0
        connection.needed = -1

    def run(self, requests: int) -> None:
        """Answer count is exact: a request is sent for every answer but the last ones, so that nothing is left over."""
        if self.job.is_new_connection_each:
            to_start = requests - min(requests, self.job.connections)
            for _ in range(requests - to_start):
                self.connect()
        else:
            idle = list(self.open.values())[:requests]
            to_start = requests - len(idle)
            for connection in idle:
                connection.socket.write(self.request())
        self.answers(requests, to_start)

    def answers(self, requests: int, to_start: int) -> None:
        done = 0
        while done < requests:
            events = self.epoll.poll(POLL_SECONDS)
            if not events:
                raise SystemExit(f"no answer for {POLL_SECONDS:.0f} s after {done} of {requests} requests")
            for descriptor, _ in events:
                connection = self.open.get(descriptor)
                if connection is None or not self.readable(connection):
                    continue
                done += 1
                if self.job.is_new_connection_each:
                    self.close(connection)
                    if to_start:
                        self.connect()
                elif to_start:
                    connection.socket.write(self.request())
                to_start -= bool(to_start)

    def open_all(self) -> None:
        """Open the keep-alive connections, a few at a time, each with one request."""
        left = self.job.connections
        while left:
            batch = min(left, 32)
            for _ in range(batch):
                self.connect()
            self.answers(batch, 0)
            left -= batch


def main() -> None:
    load = Load(Job(**json.loads(sys.argv[1])))
    if not load.job.is_new_connection_each:
        load.open_all()
    if load.job.warm_up:
        load.run(load.job.warm_up)
    print("ready", flush=True)
    sys.stdin.readline()
    wall, cpu = time.perf_counter(), time.process_time()
    if load.job.requests:
        load.run(load.job.requests)
    result = {"seconds": time.perf_counter() - wall, "own_cpu_seconds": time.process_time() - cpu}
    print(json.dumps(result), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
