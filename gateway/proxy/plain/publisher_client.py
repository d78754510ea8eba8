"""Asks the publisher for a worker: one connection to its Unix socket for each request.

Keeps true: a worker has a limited number of requests under way, each only until the publisher has answered. An answer
that is longer or shorter than announced, or missing, is a failure. The asker is told of a failure at most once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol, cast

from gateway import tasks
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.relay import MAX_LINE_BYTES, Question, RelayError, Reply, question_line, read_reply
from gateway.proxy.plain.published_body import MAX_BODY_BYTES, Body, Reader, SharedBodies

CONNECT_SECONDS: Final = 5.0
# For one worker; further requests wait. With 32 workers this is the publisher's limit.
MAX_QUESTIONS_AT_ONCE: Final = 16


class Asker(Reader, Protocol):
    """Receives the answer."""

    def on_reply(self, reply: Reply, body: Body) -> None:
        """The answer begins. The asker reads the body, and must call `leave` on it."""


class PublisherClient:
    """Asks the publisher at its Unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turns = asyncio.Semaphore(MAX_QUESTIONS_AT_ONCE)
        self.bodies = SharedBodies()

    def ask(self, question: Question, asker: Asker) -> PublisherRequest:
        """Send a request; the asker gets the answer later."""
        request = PublisherRequest(question, asker, self.bodies)
        tasks.spawn(self._connect(request), name="ask the publisher")
        return request

    async def _connect(self, request: PublisherRequest) -> None:
        async with self._turns:
            if request.over.is_set():
                return
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().create_unix_connection(lambda: request, str(self._path))
            except (OSError, TimeoutError) as error:
                request.fail(RequestError(Reason.NO_HEALTHY_UPSTREAM, f"the publisher does not answer: {error}"))
            await request.over.wait()


class PublisherRequest(asyncio.Protocol):
    """One request to the publisher, until its answer is complete."""

    __slots__ = ("_asker", "_bodies", "_body", "_line", "_question", "_transport", "over")

    def __init__(self, question: Question, asker: Asker, bodies: SharedBodies) -> None:
        self._question = question
        self._asker = asker
        self._bodies = bodies
        self._line = b""  # the answer's line, not complete yet
        self._body: Body | None = None  # after the line
        self._transport: asyncio.Transport | None = None
        self.over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast("asyncio.Transport", transport)
        if self.over.is_set():
            self._transport.abort()
            return
        self._transport.write(question_line(self._question))

    def data_received(self, data: bytes) -> None:
        """Process bytes of the answer."""
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
            self.drop()  # another request is reading the same body
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
        """The publisher closed the connection: fail unless the answer is complete."""
        cause = "the publisher ended before its answer was complete"
        self.fail(RequestError(Reason.NO_HEALTHY_UPSTREAM, f"{cause}: {exc}" if exc else cause))

    def eof_received(self) -> None:
        """Do nothing; `connection_lost` follows."""

    def fail(self, error: RequestError) -> None:
        """Tell the asker or the body's readers of a failure, unless the request is over."""
        if not self.over.is_set():
            self.drop()
            if self._body is None:
                self._asker.on_failure(error)
            else:
                self._body.fail(error)

    def drop(self) -> None:
        """End the request, and close the connection."""
        self.over.set()
        if self._transport is not None:
            self._transport.abort()
