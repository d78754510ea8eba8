"""A worker's side of the publisher: one connection over its Unix socket for each question.

Keeps true: an answer is handed on as it comes and never held; one that is longer or shorter than it says is told as
such, and so is none at all; whoever asked hears of the end exactly once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol, cast

from gateway import tasks
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.relay import MAX_LINE_BYTES, Question, RelayError, Reply, question_line, read_reply

CONNECT_SECONDS: Final = 5.0


class Asker(Protocol):
    """Who hears the answer."""

    def on_reply(self, reply: Reply) -> None:
        """It begins."""

    def on_body(self, data: bytes) -> None:
        """A part of its body."""

    def on_end(self) -> None:
        """It is whole. Nothing follows."""

    def on_failure(self, error: RequestError) -> None:
        """It is refused, or breaks off. Nothing follows."""


class Publisher:
    """Where the publisher listens."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, question: Question, asker: Asker) -> Enquiry:
        """Ask; the answer comes by and by."""
        enquiry = Enquiry(question, asker)
        tasks.spawn(self._connect(enquiry), name="ask the publisher")
        return enquiry

    async def _connect(self, enquiry: Enquiry) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().create_unix_connection(lambda: enquiry, str(self._path))
        except (OSError, TimeoutError) as error:
            enquiry.fail(RequestError(Reason.NO_HEALTHY_UPSTREAM, f"the publisher does not answer: {error}"))


class Enquiry(asyncio.Protocol):
    """One question, and its answer on the way."""

    __slots__ = ("_asker", "_is_over", "_is_paused", "_left_bytes", "_line", "_question", "_transport")

    def __init__(self, question: Question, asker: Asker) -> None:
        self._question = question
        self._asker = asker
        self._line = b""  # the beginning of the answer
        self._left_bytes: int | None = None  # of its body; None before it begins
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The publisher is there."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_over:
            self._transport.abort()
            return
        self._transport.write(question_line(self._question))
        if self._is_paused:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        if self._is_over:
            return
        if self._left_bytes is None:
            self._line += data
            line, newline, data = self._line.partition(b"\n")
            if not newline and len(line) <= MAX_LINE_BYTES:
                return
            try:
                reply = read_reply(line)
            except RequestError as error:
                self.fail(error)
                return
            except RelayError as error:
                self.fail(RequestError(Reason.UPSTREAM_BAD_RESPONSE, error.cause))
                return
            self._line = b""
            self._left_bytes = 0 if self._question.is_head else reply.length_bytes
            self._asker.on_reply(reply)
        self._take(self._left_bytes, data)

    def _take(self, left_bytes: int, data: bytes) -> None:
        if len(data) > left_bytes:
            self.fail(RequestError(Reason.UPSTREAM_BAD_RESPONSE, "the publisher says more than it announced"))
            return
        self._left_bytes = left_bytes - len(data)
        if data:
            self._asker.on_body(data)
        if not self._left_bytes and not self._is_over:
            self.drop()
            self._asker.on_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The publisher is gone."""
        cause = "the publisher ended before its answer was whole"
        self.fail(RequestError(Reason.NO_HEALTHY_UPSTREAM, f"{cause}: {exc}" if exc else cause))

    def eof_received(self) -> None:
        """It says no more."""

    # the asker's side

    def fail(self, error: RequestError) -> None:
        """There is no answer, or not all of it."""
        if not self._is_over:
            self.drop()
            self._asker.on_failure(error)

    def drop(self) -> None:
        """Hear no more; nothing is told any more either."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """The asker can't take more for now."""
        self._is_paused = True
        if self._transport is not None and not self._is_over:
            self._transport.pause_reading()

    def resume(self) -> None:
        """It can again."""
        self._is_paused = False
        if self._transport is not None and not self._is_over:
            self._transport.resume_reading()
