"""The publisher's server on a Unix socket: it answers the workers' questions about lists, certificates and OCSP.

Keeps true: every wait has a named limit, and so has the number of connections; after a registry that can't be read, the
next question reads it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway import tasks
from gateway.errors import GatewayError, RequestError, as_clause
from gateway.http.relay import MAX_LINE_BYTES, RelayError, read_question, refusal_line, reply_line
from gateway.pki.desk import Desk
from gateway.pki.ocsp_signer import SignerFiles
from gateway.pki.registry.engine import Registry
from gateway.publishing.answers import Answers

# A worker sends its question right after it has connected.
QUESTION_SECONDS: Final = 5.0
# A worker reads the whole answer without waiting for its client.
TRANSFER_SECONDS: Final = 30.0
# For all workers together; each sends at most sixteen questions at a time.
MAX_CONNECTIONS: Final = 512
CHUNK_BYTES: Final = 64 * 1024

_log = logging.getLogger("gateway.publisher")


class PublishingServer:
    """Answers one question on each connection."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._server: asyncio.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._answers: Answers | None = None
        self._registry: Registry | None = None
        self._open = 0

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take the master's message that says what to publish."""
        match message:
            case {
                "do": "publish",
                "store": str(store),
                "folder": str(folder),
                "options": str(options),
                "environment": dict(variables),
            }:
                os.environ.update(variables)  # for libpq; /proc/PID/environ does not show later changes
                self._starting = tasks.spawn(self.start(store, Path(folder), options), name="start to publish")

    async def start(self, store: str, folder: Path, options: str) -> None:
        """Accept questions. A registry that can't be read yet does not matter: each question reads it again."""
        try:
            self._registry = Registry.open_for_reading(store)
        except GatewayError as error:
            _log.error("pki.store: %s; nothing is published; %s", error.cause, as_clause(error.remedy))
        else:
            desk = Desk(self._registry, folder, "publisher")
            self._answers = Answers(self._registry, SignerFiles(desk), options)
        # Not `start_unix_server`: since Python 3.13 closing it removes the path, which the next publisher needs.
        self._server = await asyncio.start_server(self._accept, sock=self._listening, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Accept no more questions."""
        if self._server is not None:
            self._server.close()
        if self._answers is not None:
            self._answers.close()
        if self._registry is not None:
            self._registry.close()

    def clean_up(self) -> None:
        """Remove the socket and its folder, because the master was killed and can't do it."""
        path = Path(self._listening.getsockname())
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MAX_CONNECTIONS:
            writer.close()  # for the worker this is the same as a publisher that does not run
            return
        self._open += 1
        tasks.spawn(self._talk(reader, writer), name="answer a worker")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the worker or its client has closed the connection
        except RelayError as error:
            _log.error("%s", error.cause)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(QUESTION_SECONDS):
            line = await reader.readuntil(b"\n")
        question = read_question(line)
        if self._answers is None:
            return
        try:
            reply, body = await self._answers.answer(question)
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
