"""A client that only wants to be served: `python -m bench.bystander '{"port": …}'`.

It opens its kept connections, prints "ready", waits for a line, and then makes its requests at fixed times, half of
them on new connections, each with a full mutual handshake: a server that stalls does not slow down the questions. A
request's time counts from the moment at which it was due to the last byte of its answer, or to the end of the
measurement where none has come. A connection that breaks counts as `ANSWER_SECONDS`. The result is printed as JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import HOST
from bench.load import CONTENT_LENGTH, REQUEST_FIELDS
from bench.scenarios import OUTSIDE
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

PATH = b"/webmail/1k"
BODY_BYTES = 1024
REQUEST = b"GET " + PATH + REQUEST_FIELDS
KEPT_CONNECTIONS = 8
# Between two requests of one kind. A handshake costs some 3 ms on each side, a tenth of the server's core at this rate.
# More would be a load of its own, with which a server under a flood never catches up.
EVERY_SECONDS = 0.03
# How long is waited for the last answers.
ANSWER_SECONDS = 10.0
OPEN_SECONDS = 60.0
READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class Job:
    port: int
    samples: int  # of each kind
    ca: str
    client: str
    client_key: str


class FailedError(Exception):
    """This connection is of no use any more."""


class Connection:
    """A connection, with one request at a time on it."""

    def __init__(self, port: int, due: float, *, is_kept: bool, is_counted: bool = True) -> None:
        self.due = due  # when its request ought to have been sent
        self.is_kept = is_kept
        self.is_counted = is_counted  # its request; the first one on a kept connection isn't
        self.received = b""
        self.tls: ssl.SSLSocket | None = None
        self.is_established = False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((OUTSIDE, 0))
        self.socket.connect_ex(("127.0.0.1", port))

    def ask(self, due: float) -> None:
        """Send another request."""
        self.due, self.is_counted = due, True
        if self.tls is not None:
            self.tls.write(REQUEST)

    def go_on(self, context: ssl.SSLContext) -> bool:
        """True when an answer is complete."""
        if self.tls is None:
            if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise FailedError
            self.tls = context.wrap_socket(self.socket, server_hostname=HOST, do_handshake_on_connect=False)
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self.is_established:
                self.tls.do_handshake()
                self.is_established = True
                self.tls.write(REQUEST)
            while piece := self.tls.recv(READ_BYTES):
                self.received += piece
                if self.is_answered():
                    self.received = b""
                    return True
            raise FailedError
        return False

    def is_answered(self) -> bool:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = CONTENT_LENGTH.search(self.received, 0, end + 2)
        if not self.received.startswith(b"HTTP/1.1 200") or length is None or int(length[1]) != BODY_BYTES:
            raise FailedError
        return len(self.received) == end + 4 + BODY_BYTES

    def close(self) -> None:
        if self.tls is not None and self.is_established:
            with contextlib.suppress(OSError, ValueError):
                self.tls.unwrap()  # sends close_notify; the server's own is not waited for
        (self.tls or self.socket).close()


class Bystander:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.context = client_context(load_certificates(Path(job.ca)))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(job.client, job.client_key)
        self.epoll = select.epoll()
        self.open: dict[int, Connection] = {}
        self.idle: deque[Connection] = deque()
        self.waiting: deque[float] = deque()  # due, with no kept connection free
        self.seconds: dict[bool, list[float]] = {False: [], True: []}  # by whether the connection was kept
        self.failed = 0

    def connect(self, due: float, *, is_kept: bool) -> None:
        connection = Connection(self.job.port, due, is_kept=is_kept, is_counted=not is_kept)
        self.open[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def open_kept(self) -> None:
        """Each has carried a request before it counts."""
        for _ in range(KEPT_CONNECTIONS):
            self.connect(time.perf_counter(), is_kept=True)
        end = time.monotonic() + OPEN_SECONDS
        while len(self.idle) < KEPT_CONNECTIONS:
            if time.monotonic() > end:
                raise SystemExit(f"the bystander's first connections are not served within {OPEN_SECONDS:.0f} s")
            self.look(0.1)

    def run(self) -> None:
        begin = time.perf_counter() + EVERY_SECONDS
        times = self.times(begin)
        due, is_kept = next(times)
        last = begin + self.job.samples * EVERY_SECONDS + ANSWER_SECONDS
        while not self.is_done() and (now := time.perf_counter()) < last:
            while due <= now:
                self.begin(due, is_kept=is_kept)
                due, is_kept = next(times, (float("inf"), False))
            self.look(max(0.0, min(due, last) - time.perf_counter()))
        self.give_up(time.perf_counter())

    def give_up(self, now: float) -> None:
        """What was not answered has waited until now."""
        left = [(each.is_kept, each.due) for each in self.open.values() if each.is_counted]
        left += [(True, due) for due in self.waiting]
        self.failed += len(left)
        for is_kept, due in left:
            self.seconds[is_kept].append(now - due)

    def times(self, begin: float) -> Iterator[tuple[float, bool]]:
        for number in range(self.job.samples):
            yield begin + number * EVERY_SECONDS, False
            yield begin + (number + 0.5) * EVERY_SECONDS, True

    def is_done(self) -> bool:
        return all(len(seconds) == self.job.samples for seconds in self.seconds.values())

    def begin(self, due: float, *, is_kept: bool) -> None:
        if not is_kept:
            self.connect(due, is_kept=False)
        elif self.idle:
            self.ask(self.idle.popleft(), due)
        else:
            self.waiting.append(due)

    def ask(self, connection: Connection, due: float) -> None:
        try:
            connection.ask(due)
        except (OSError, ssl.SSLError):
            self.fail(connection)

    def look(self, seconds: float) -> None:
        for descriptor, _ in self.epoll.poll(seconds):
            connection = self.open.get(descriptor)
            if connection is None:
                continue
            if connection.tls is None:
                self.epoll.modify(descriptor, select.EPOLLIN)
            try:
                if connection.go_on(self.context):
                    self.answered(connection)
            except (FailedError, OSError):
                self.fail(connection)

    def answered(self, connection: Connection) -> None:
        if connection.is_counted:
            self.seconds[connection.is_kept].append(time.perf_counter() - connection.due)
        if not connection.is_kept:
            self.close(connection)
        elif self.waiting:
            self.ask(connection, self.waiting.popleft())
        else:
            connection.is_counted = False
            self.idle.append(connection)

    def fail(self, connection: Connection) -> None:
        """Its request has failed; a kept connection is replaced."""
        if connection.is_counted:
            self.failed += 1
            self.seconds[connection.is_kept].append(ANSWER_SECONDS)
        self.close(connection)
        if connection.is_kept:
            with contextlib.suppress(ValueError):
                self.idle.remove(connection)
            self.connect(time.perf_counter(), is_kept=True)

    def close(self, connection: Connection) -> None:
        descriptor = (connection.tls or connection.socket).fileno()
        self.epoll.unregister(descriptor)
        del self.open[descriptor]
        connection.close()


def main() -> None:
    bystander = Bystander(Job(**json.loads(sys.argv[1])))
    bystander.open_kept()
    gc.freeze()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    bystander.run()
    new, kept = bystander.seconds[False], bystander.seconds[True]
    print(json.dumps({"new": new, "kept": kept, "failed": bystander.failed}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
