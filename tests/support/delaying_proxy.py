"""A TCP proxy that is as far away as a server on a mobile network: each direction takes its time, at any rate.

    python -m tests.support.delaying_proxy LISTEN_PORT SERVER_PORT MILLISECONDS

MILLISECONDS is the delay of one direction, which is half of a round trip. The proxy answers each line on standard input
with the number of connections so far, and ends with standard input. A new connection costs a round trip before its
first byte leaves, as TCP's handshake does. Slow start and loss are not imitated.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque

HOST = "127.0.0.1"
READ_BYTES = 65536


class Line:
    """What is under way in one direction: it arrives in the order in which it was sent, each part as late."""

    def __init__(self, seconds: float, opens_at: float = 0.0) -> None:
        """What is sent before `opens_at` leaves then."""
        self._seconds = seconds
        self._opens_at = opens_at
        self._parts: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes, now: float) -> float:
        """Send this, or nothing for the end; when it arrives."""
        arrives_at = max(now, self._opens_at) + self._seconds
        self._parts.append((arrives_at, data))
        return arrives_at

    def receive(self, now: float) -> list[bytes]:
        """What has arrived since the last call."""
        found = []
        while self._parts and self._parts[0][0] <= now:
            found.append(self._parts.popleft()[1])
        return found


class DelayingProxy:
    """Counts its connections; `seconds` is the delay of one direction."""

    def __init__(self, server_port: int, seconds: float) -> None:
        self._server_port = server_port
        self._seconds = seconds
        self.connections = 0

    async def listen(self, port: int) -> asyncio.Server:
        """Listen there; 0 stands for any free port."""
        return await asyncio.start_server(self._serve, HOST, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        opens_at = asyncio.get_running_loop().time() + 2 * self._seconds
        with contextlib.closing(writer), contextlib.suppress(OSError):
            its_reader, its_writer = await asyncio.open_connection(HOST, self._server_port)
            with contextlib.closing(its_writer):
                there = _carry(reader, its_writer, Line(self._seconds, opens_at))
                back = _carry(its_reader, writer, Line(self._seconds))
                await asyncio.gather(there, back)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """One direction, up to its end. A connection that fails has ended."""
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()

    def deliver(now: float) -> None:
        for data in line.receive(now):
            if data:
                writer.write(data)
            else:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                is_over.set()

    while True:
        try:
            await writer.drain()
            data = await reader.read(READ_BYTES)
        except OSError:
            data = b""
        arrives_at = line.send(data, loop.time())
        loop.call_at(arrives_at, deliver, arrives_at)
        if not data:
            break
    await is_over.wait()


async def _main(listen_port: str, server_port: str, milliseconds: str) -> None:
    proxy = DelayingProxy(int(server_port), float(milliseconds) / 1000)
    async with await proxy.listen(int(listen_port)):
        while await asyncio.to_thread(sys.stdin.readline):
            print(proxy.connections, flush=True)  # noqa: T201 - for the program that started it


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
