"""A worker's side of the publisher: one connection over its Unix socket for each question.

Keeps true: a worker has a bounded number of questions under way, each for as long as the publisher needs for it and no
longer; an answer that is longer or shorter than it says is told as such, and so is none at all; whoever asked hears of
a failure at most once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol, cast

from gateway import tasks
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.relay import MAX_LINE_BYTES, Question, RelayError, Reply, question_line, read_reply
from gateway.proxy.published_body import MAX_BODY_BYTES, Body, Reader, SharedBodies

CONNECT_SECONDS: Final = 5.0
# Of one worker; others wait. With 32 workers it is what the publisher takes.
MAX_QUESTIONS_AT_ONCE: Final = 16


class Asker(Reader, Protocol):
    """Who hears the answer."""

    def on_reply(self, reply: Reply, body: Body) -> None:
        """It begins. The asker reads the body, and leaves it."""


class Publisher:
    """Where the publisher listens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns = asyncio.Semaphore(MAX_QUESTIONS_AT_ONCE)
        self.bodies = SharedBodies()

    def ask(self, question: Question, asker: Asker) -> Enquiry:
        """Ask; the answer comes by and by."""
        enquiry = Enquiry(question, asker, self.bodies)
        tasks.spawn(self._connect(enquiry), name="ask the publisher")
        return enquiry

    async def _connect(self, enquiry: Enquiry) -> None:
        async with self._turns:
            if enquiry.over.is_set():
                return
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().create_unix_connection(lambda: enquiry, str(self._path))
            except (OSError, TimeoutError) as error:
                enquiry.fail(RequestError(Reason.NO_HEALTHY_UPSTREAM, f"the publisher does not answer: {error}"))
            await enquiry.over.wait()


class Enquiry(asyncio.Protocol):
    """One question, and its answer on the way."""

    __slots__ = ("_asker", "_bodies", "_body", "_line", "_question", "_transport", "over")

    def __init__(self, question: Question, asker: Asker, bodies: SharedBodies) -> None:
        self._question = question
        self._asker = asker
        self._bodies = bodies
        self._line = b""  # the beginning of the answer
        self._body: Body | None = None  # once it begins
        self._transport: asyncio.Transport | None = None
        self.over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The publisher is there."""
        self._transport = cast("asyncio.Transport", transport)
        if self.over.is_set():
            self._transport.abort()
            return
        self._transport.write(question_line(self._question))

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        if self.over.is_set():
            return
        if self._body is not None:
            self._take(self._body, data)
            return
        self._line += data
        line, newline, data = self._line.partition(b"\n")
        if not newline and len(line) <= MAX_LINE_BYTES:
            return
        self._line = b""
        try:
            reply = read_reply(line)
        except RequestError as error:
            self.fail(error)
        except RelayError as error:
            self.fail(RequestError(Reason.UPSTREAM_BAD_RESPONSE, error.cause))
        else:
            self._begin(reply, data)

    def _begin(self, reply: Reply, data: bytes) -> None:
        if reply.length_bytes > MAX_BODY_BYTES:
            self.fail(RequestError(Reason.UPSTREAM_BAD_RESPONSE, f"the answer has more than {MAX_BODY_BYTES} bytes"))
            return
        body, is_known = self._bodies.of(self._question, reply, self.drop)
        if is_known:
            self.drop()  # what the publisher still sends is there
        self._body = body
        body.join(self._asker)
        self._asker.on_reply(reply, body)
        if not is_known:
            self._take(body, data)

    def _take(self, body: Body, data: bytes) -> None:
        if len(data) > body.left_bytes:
            self.fail(RequestError(Reason.UPSTREAM_BAD_RESPONSE, "the publisher's answer is longer than announced"))
            return
        if len(data) == body.left_bytes:
            self.drop()
        body.fill(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The publisher is gone."""
        cause = "the publisher ended before its answer was complete"
        self.fail(RequestError(Reason.NO_HEALTHY_UPSTREAM, f"{cause}: {exc}" if exc else cause))

    def eof_received(self) -> None:
        """It says no more."""

    def fail(self, error: RequestError) -> None:
        """There is no answer, or not all of it."""
        if not self.over.is_set():
            self.drop()
            if self._body is None:
                self._asker.on_failure(error)
            else:
                self._body.fail(error)

    def drop(self) -> None:
        """Hear no more."""
        self.over.set()
        if self._transport is not None:
            self._transport.abort()
