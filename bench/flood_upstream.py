"""The mail server of the scenario with the flood: `python -m bench.flood_upstream PORT`.

It answers a GET with 1 KiB at once, reads a POST's body without end, and answers `floods.DRIP_PATH?MBIT` in one-byte
chunks without end, so many Mbit a second. Told "count" it prints how many bytes of such chunks were taken.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys

from bench.bystander import BODY_BYTES
from bench.floods import DRIP_PATH, PIECE_BYTES, TICK_SECONDS, Bucket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES + b"x" * BODY_BYTES
DRIP_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1\r\nx\r\n"
CHUNKS = memoryview(CHUNK * (PIECE_BYTES // len(CHUNK) * 2))


class Connection:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.received = b""
        self.is_swallowing = False
        self.bucket: Bucket | None = None
        self.at = 0  # within a chunk

    def take(self, buffer: memoryview) -> bool:
        """Read what is there and answer it; False at the end."""
        count = self.socket.recv_into(buffer)
        if count and not self.is_swallowing:
            self.received += buffer[:count]
            if b"\r\n\r\n" in self.received:
                self.answer(self.received.split(b" ", 2))
                self.received = b""
        return bool(count)

    def answer(self, words: list[bytes]) -> None:
        path, _, query = words[1].partition(b"?")
        if words[0] == b"POST":
            self.is_swallowing = True
        elif path == DRIP_PATH.encode():
            self.socket.send(DRIP_HEAD)
            self.bucket = Bucket(int(query))
        else:
            self.socket.send(ANSWER)

    def drip(self) -> int:
        if self.bucket is None:
            return 0
        try:
            count = self.socket.send(CHUNKS[self.at : self.at + min(self.bucket.fill(), PIECE_BYTES)])
        except BlockingIOError:
            return 0
        self.bucket.take(count)
        self.at = (self.at + count) % len(CHUNK)
        return count


class Server:
    def __init__(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listening.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listening, select.EPOLLIN)
        self.epoll.register(sys.stdin, select.EPOLLIN)
        self.open: dict[int, Connection] = {}
        self.buffer = memoryview(bytearray(4 * PIECE_BYTES))
        self.dripped = 0

    def serve(self) -> None:
        while True:
            is_dripping = any(connection.bucket is not None for connection in self.open.values())
            for descriptor, _ in self.epoll.poll(TICK_SECONDS if is_dripping else None):
                if descriptor == self.listening.fileno():
                    self.accept()
                elif descriptor != sys.stdin.fileno():
                    self.readable(descriptor)
                elif not sys.stdin.readline():
                    return
                else:
                    print(self.dripped, flush=True)
            if is_dripping:
                for descriptor in tuple(self.open):
                    self.drip(descriptor)

    def accept(self) -> None:
        connected, _ = self.listening.accept()
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open[connected.fileno()] = Connection(connected)
        self.epoll.register(connected, select.EPOLLIN)

    def readable(self, descriptor: int) -> None:
        is_open = False
        with contextlib.suppress(OSError):
            is_open = self.open[descriptor].take(self.buffer)
        if not is_open:
            self.close(descriptor)

    def drip(self, descriptor: int) -> None:
        try:
            self.dripped += self.open[descriptor].drip()
        except OSError:
            self.close(descriptor)

    def close(self, descriptor: int) -> None:
        self.epoll.unregister(descriptor)
        self.open.pop(descriptor).socket.close()


def main() -> None:
    server = Server(int(sys.argv[1]))
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
