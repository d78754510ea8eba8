"""The publisher: a process that answers what the workers are asked about authorities.

Keeps true: it is a program of its own (`program` says what that keeps out of it), so that no worker holds a key that
signs OCSP answers; it waits for nobody longer than a named time; it ends with the master.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from gateway import tasks
from gateway.errors import GatewayError, RequestError
from gateway.http.relay import MAX_LINE_BYTES, RelayError, read_question, refusal_line, reply_line
from gateway.logs.error_log import begin_error_log
from gateway.pki.desk import Desk
from gateway.pki.ocsp_signer import SignerFiles
from gateway.pki.registry.engine import Registry
from gateway.supervisor.channel import Channel, Message
from gateway.supervisor.dumps import forbid_reading
from gateway.supervisor.link import Link
from gateway.supervisor.publications import Publications

# A worker sends its question at once.
QUESTION_SECONDS: Final = 5.0
# A worker takes the whole answer at once, however slow its client is.
TRANSFER_SECONDS: Final = 30.0
# Of all workers together; each asks sixteen questions at a time at most.
MAX_CONNECTIONS: Final = 512
CHUNK_BYTES: Final = 64 * 1024

_log = logging.getLogger("gateway.publisher")


def main() -> None:
    """The program: descriptor of the channel, descriptor of the listening socket."""
    begin_error_log()
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("gateway-publish", encoding="ascii")  # what ps and top show
    forbid_reading()
    channel, listening = map(int, sys.argv[1:])
    asyncio.run(serve(Channel(socket.socket(fileno=channel)), socket.socket(fileno=listening)))


async def serve(channel: Channel, listening: socket.socket) -> None:
    """Serve until SIGTERM, or until the master is gone."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    publisher = Publisher(listening)

    def is_alone() -> None:
        publisher.clean_up()
        stopping.set()

    link = Link(channel, loop, publisher.hear, is_alone)
    await stopping.wait()
    link.close()
    await publisher.close()


class Publisher:
    """The server on the Unix socket."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._server: asyncio.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._publications: Publications | None = None
        self._registry: Registry | None = None
        self._open = 0

    def hear(self, message: Message) -> None:
        """The master says what to publish."""
        match message:
            case {"do": "publish", "store": str(store), "folder": str(folder), "environment": dict(variables)}:
                os.environ.update(variables)  # libpq reads them there; /proc shows what there was at the start
                self._starting = tasks.spawn(self.start(store, Path(folder)), name="start to publish")

    async def start(self, store: str, folder: Path) -> None:
        """Take questions. A registry that can't be read yet is no hindrance: each question asks it anew."""
        try:
            self._registry = Registry.open_for_reading(store)
        except GatewayError as error:
            _log.error("pki.store: %s; %s Nothing is published", error.cause, error.remedy)
        else:
            desk = Desk(self._registry, folder, "publisher")
            self._publications = Publications(self._registry, SignerFiles(desk))
        # Not `start_unix_server`: since Python 3.13 closing it removes the path, which the next publisher needs.
        self._server = await asyncio.start_server(self._accept, sock=self._listening, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Take no more."""
        if self._server is not None:
            self._server.close()
        if self._publications is not None:
            self._publications.close()
        if self._registry is not None:
            self._registry.close()

    def clean_up(self) -> None:
        """The master was killed and can't do it: take its socket and the folder made for it away."""
        path = Path(self._listening.getsockname())
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MAX_CONNECTIONS:
            writer.close()  # which a worker takes for a publisher that is away
            return
        self._open += 1
        tasks.spawn(self._talk(reader, writer), name="answer a worker")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the worker is gone, or its client was
        except RelayError as error:
            _log.error("%s", error.cause)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(QUESTION_SECONDS):
            line = await reader.readuntil(b"\n")
        question = read_question(line)
        if self._publications is None:
            return
        try:
            reply, body = await self._publications.answer(question)
        except RequestError as error:
            writer.write(refusal_line(error))
            await writer.drain()
            return
        writer.write(reply_line(reply))
        if not question.is_head:
            await _send(writer, body)


async def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    view = memoryview(body)
    for at in range(0, len(body), CHUNK_BYTES):
        writer.write(view[at : at + CHUNK_BYTES])
        await writer.drain()


if __name__ == "__main__":
    main()
