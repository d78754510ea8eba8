"""One client that floods a server, and stays out of everybody else's way on its own core.

`python -m bench.floods '{"port": …}'` connects, builds what it is going to send, prints "ready", waits for a line,
floods until the next one, and prints what the server took as JSON. A token bucket paces it. It runs at the lowest
priority, encrypts large pieces, and drops answers as they come, without decrypting them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from bench import floods_http2
from bench.certificates import HOST
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

INSIDE, ELSEWHERE = "127.0.0.1", "127.0.0.3"  # neither is the bystander's
LOWEST_PRIORITY = 19
PIECE_BYTES = 64 * 1024  # plaintext that is encrypted at once
# The same in records of one byte, each of which takes a microsecond.
TINY_PIECE_BYTES = 4096
TICK_SECONDS = 0.005
# What the bucket holds: no more is sent at once after a pause.
BUCKET_TICKS = 4
DROP_BYTES = 1024 * 1024
DROPS_A_TICK = 4
CONNECT_SECONDS = 5.0
# A server that takes nothing for so long is tried with another connection, by the client that reads nothing.
STALL_SECONDS = 0.25
STALLED_CONNECTIONS = 50
RETRY_SECONDS = 0.05
FIRST_STREAM = 3  # of those that a flood opens again and again


def _get(target: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", f"Host: {HOST}", *fields, "", "")).encode()


def _repeated(request: bytes, most_bytes: int = PIECE_BYTES) -> bytes:
    return request * (most_bytes // len(request))


DRIP_PATH = "/webmail/drip"  # the upstream answers it in one-byte chunks, without end
_GET_X = _get("/x")
_POST = f"POST /webmail/upload HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@dataclass(frozen=True)
class Flood:
    name: str
    title: str
    block: bytes  # sent again and again; nothing where the upstream is what floods
    opening: bytes = b""  # sent before it, once on each connection
    source: str = ELSEWHERE
    is_reading: bool = True
    is_tiny: bool = False  # a TLS record for each byte
    piece: floods_http2.Piece | None = None  # over HTTP/2, in place of `block`: what is sent for each stream's number

    @property
    def is_upstreams(self) -> bool:
        """True if the upstream is what floods."""
        return self.piece is None and not self.block

    def blocks(self) -> Iterator[bytes]:
        """What one connection sends, a large piece at a time."""
        if self.piece is None:
            yield from repeat(self.block)
            return
        stream_id = FIRST_STREAM
        while True:
            block = b""
            while len(block) < PIECE_BYTES:
                block += self.piece(stream_id)
                stream_id += 2
            yield block


def over_http2(
    name: str, title: str, piece: floods_http2.Piece, opening: bytes = floods_http2.PREFACE, **more: Any
) -> Flood:
    return Flood(f"h2-{name}", f"HTTP/2: {title}", b"", opening=opening, piece=piece, **more)


FLOODS = [
    Flood("refused", "refused requests", _repeated(_GET_X)),
    Flood("chunks", "one-byte chunks in a POST", _repeated(b"1\r\nx\r\n"), opening=_POST, source=INSIDE),
    Flood("drip", "one-byte chunks from the upstream", b"", source=INSIDE),
    Flood("escapes", "paths of %61 × 600", _repeated(_get("/" + "%61" * 600))),
    Flood("fields", "requests with ninety fields", _repeated(_get("/x", *(f"X-Field-{n}: v" for n in range(90))))),
    Flood("unread", "answers that are not read", _repeated(_GET_X), is_reading=False),
    Flood("records", "TLS records of one byte", _repeated(_GET_X, TINY_PIECE_BYTES), is_tiny=True),
    over_http2("refused", "refused requests", floods_http2.refused),
    over_http2("reset", "requests that are reset at once", floods_http2.reset),
    over_http2("malformed", "requests that the server must reset", floods_http2.malformed),
    over_http2("fields", "requests with ninety fields", floods_http2.fields),
    over_http2("bomb", "a long field of the table × 12,000", floods_http2.bomb),
    over_http2("crumbs", "16,000 empty parts of a cookie", floods_http2.crumbs),
    over_http2("continuation", "empty CONTINUATION frames", floods_http2.continuation, floods_http2.UNFINISHED),
    over_http2("settings", "SETTINGS frames", floods_http2.settings),
    over_http2("ping", "PING frames", floods_http2.ping),
    over_http2("update", "WINDOW_UPDATE frames of a byte", floods_http2.update),
    over_http2("unknown", "frames of an unknown type", floods_http2.unknown),
    over_http2("empty", "empty DATA frames", floods_http2.empty, floods_http2.POST, source=INSIDE),
    over_http2("tiny", "DATA frames of a byte", floods_http2.tiny, floods_http2.POST, source=INSIDE),
    over_http2(
        "unread", "answers that are not read", floods_http2.unread, floods_http2.WIDE, source=INSIDE, is_reading=False
    ),
]


@dataclass(frozen=True)
class Job:
    port: int
    flood: str
    mbit_per_second: int
    ca: str


class Bucket:
    """How many bytes may be sent by now."""

    def __init__(self, mbit_per_second: int) -> None:
        self.bytes_per_second = mbit_per_second * 1e6 / 8
        self._most = self.bytes_per_second * TICK_SECONDS * BUCKET_TICKS
        self._held = 0.0
        self._filled = time.monotonic()

    def fill(self) -> int:
        now = time.monotonic()
        self._held = min(self._held + (now - self._filled) * self.bytes_per_second, self._most)
        self._filled = now
        return int(self._held)

    def take(self, count: int) -> None:
        self._held -= count


class Connection:
    """TLS on the way out; what comes in after the handshake is dropped unseen."""

    def __init__(self, job: Job, flood: Flood, context: ssl.SSLContext) -> None:
        self.flood = flood
        incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._blocks = flood.blocks()
        self._tls = context.wrap_bio(incoming, self._outgoing, server_hostname=HOST)
        self.socket = socket.create_connection(
            ("127.0.0.1", job.port), CONNECT_SECONDS, source_address=(flood.source, 0)
        )
        try:
            self._shake_hands(incoming)
        except BaseException:
            self.socket.close()
            raise
        if flood.piece is not None and self._tls.selected_alpn_protocol() != "h2":
            self.socket.close()
            raise SystemExit("the server does not offer HTTP/2")
        opening = flood.opening
        if flood.is_upstreams:
            opening = _get(f"{DRIP_PATH}?{job.mbit_per_second}")
        if opening:
            self._tls.write(opening)
        self._ready = memoryview(self._outgoing.read())
        self.socket.setblocking(False)

    def _shake_hands(self, incoming: ssl.MemoryBIO) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                if not (data := self.socket.recv(PIECE_BYTES)):
                    raise ConnectionError from None
                incoming.write(data)
            else:
                return

    def build(self) -> None:
        """Encrypt the next piece, where none is left."""
        if self._ready or self.flood.is_upstreams:
            return
        if self.flood.is_tiny:
            write, block = self._tls.write, next(self._blocks)
            for at in range(len(block)):
                write(block[at : at + 1])
        else:
            self._tls.write(next(self._blocks))
        self._ready = memoryview(self._outgoing.read())

    def send(self, most_bytes: int) -> int:
        """As much as is allowed and taken, of one piece; how much that was."""
        self.build()
        try:
            count = self.socket.send(self._ready[:most_bytes])
        except BlockingIOError:
            return 0
        self._ready = self._ready[count:]
        return count

    def drop(self, into: memoryview) -> int:
        """Read what is there; how much that was. Raises `ConnectionError` at the end."""
        try:
            count = self.socket.recv_into(into)
        except BlockingIOError:
            return 0
        if not count:
            raise ConnectionError
        return count

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Attack:
    def __init__(self, job: Job) -> None:
        self.job = job
        (self.flood,) = (flood for flood in FLOODS if flood.name == job.flood)
        protocols = [] if self.flood.piece is None else ["h2"]
        self.context = client_context(load_certificates(Path(job.ca)), protocols)
        self.bucket = Bucket(job.mbit_per_second)
        self.buffer = memoryview(bytearray(DROP_BYTES))
        self.stalled: deque[Connection] = deque()
        self.sent = self.received = self.connections = 0
        self.progress = 0.0  # when the server took something
        self.connection = self.connect()
        if self.connection is None:
            raise SystemExit("the server refused the flood's first connection")

    def connect(self) -> Connection | None:
        try:
            connection = Connection(self.job, self.flood, self.context)
        except (OSError, ssl.SSLError):
            return None
        connection.build()
        self.connections += 1
        self.progress = time.monotonic()
        return connection

    def run(self) -> None:
        """Flood until there is a line on the standard input."""
        while not select.select([sys.stdin], [], [], 0)[0]:
            if self.connection is None:
                self.connection = self.connect()
            if self.connection is None:
                time.sleep(RETRY_SECONDS)
                continue
            try:
                self.turn(self.connection)
            except OSError:
                self.connection.reset()
                self.connection = None

    def turn(self, connection: Connection) -> None:
        """One tick: send what is allowed, drop what has come, and rest."""
        if self.send(connection):
            self.progress = time.monotonic()
        if self.flood.is_reading:
            for _ in range(DROPS_A_TICK):
                if not (count := connection.drop(self.buffer)):
                    break
                self.received += count
        elif time.monotonic() - self.progress > STALL_SECONDS:
            self.set_aside(connection)
        select.select([sys.stdin], [], [], TICK_SECONDS)

    def send(self, connection: Connection) -> int:
        total, allowed = 0, self.bucket.fill()
        while allowed > total and (count := connection.send(allowed - total)):
            total += count
        self.bucket.take(total)
        self.sent += total
        return total

    def set_aside(self, connection: Connection) -> None:
        """It stays open and unread; another one floods on."""
        self.stalled.append(connection)
        if len(self.stalled) > STALLED_CONNECTIONS:
            self.stalled.popleft().reset()
        self.connection = None


def main() -> None:
    os.nice(LOWEST_PRIORITY)
    attack = Attack(Job(**json.loads(sys.argv[1])))
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    attack.bucket.fill()
    attack.run()
    sys.stdin.readline()
    result = {
        "sent": attack.sent,
        "received": attack.received,
        "connections": attack.connections,
        "seconds": time.monotonic() - begin,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
