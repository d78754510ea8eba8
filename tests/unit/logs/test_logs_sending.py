"""Sending never holds a request up, never gives up, and loses nothing that it could still send."""

from __future__ import annotations

import asyncio
import errno
import ssl

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway.logs import sending
from gateway.logs.line_queue import MAX_QUEUED_BYTES, LineQueue
from gateway.logs.sending import MAX_RETRY_SECONDS, SendingLog, in_words


class FakeLink:
    """Takes one message at a time, unless it is told to fail."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.is_lost = False
        self.is_closed = False

    async def send(self, queue: LineQueue) -> None:
        if self._server.failures:
            raise self._server.failures.pop(0)
        self._server.got += queue.head(1, 1)
        queue.sent(1)
        self.is_lost = len(self._server.got) == self._server.loses_after
        self._server.event.set()

    async def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


class FakeServer:
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.links: list[FakeLink] = []
        self.failures: list[OSError] = []
        self.refusals = 0
        self.loses_after = -1
        self.event = asyncio.Event()

    async def connect(self) -> FakeLink:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self.links.append(FakeLink(self))
        return self.links[-1]

    async def has(self, *lines: bytes) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.got) < len(lines):
                self.event.clear()
                await self.event.wait()
        assert self.got == list(lines)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that are made; none of them takes its time."""
    made = []
    whole = SendingLog._pause

    async def pause(self, seconds):
        made.append(seconds)
        await whole(self, 0.0)

    monkeypatch.setattr(SendingLog, "_pause", pause)
    return made


def run(dialogue):
    async def whole():
        server = FakeServer()
        queue = LineQueue("there", "look")
        log = SendingLog(queue, server.connect, lambda line, now: b"%d " % now + line, now=lambda: 7.0)
        log.start(asyncio.get_running_loop())
        try:
            await dialogue(log, server)
        finally:
            log.close()
        return log, server

    return asyncio.run(whole())


@pytest.mark.usefixtures("pauses")
def test_lines_are_sent_in_order_over_one_connection():
    async def dialogue(log, server):
        for line in (b"a", b"b"):
            log.write(line)
        await server.has(b"7 a", b"7 b")
        log.write(b"c")
        await server.has(b"7 a", b"7 b", b"7 c")

    log, server = run(dialogue)
    assert (len(server.links), log.dropped_lines) == (1, 0)
    assert repr(log) == "<SendingLog queued_bytes=0 dropped_lines=0>"


def test_writing_does_no_more_than_queueing():
    """No loop, no connection, no end: the queue's limit is all there is."""
    log = SendingLog(LineQueue("there", "look"), FakeServer().connect, lambda line, _: line)
    megabyte = b"x" * 1024 * 1024
    for _ in range(MAX_QUEUED_BYTES // len(megabyte) + 3):
        log.write(megabyte)
    assert log.dropped_lines == 3
    log.close()
    assert log.dropped_lines == MAX_QUEUED_BYTES // len(megabyte) + 3


def test_after_each_failure_it_waits_longer_up_to_a_limit(pauses, caplog):
    async def dialogue(log, server):
        server.refusals = 9
        log.write(b"a")
        await server.has(b"7 a")

    run(dialogue)
    assert pauses[:9] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, MAX_RETRY_SECONDS, MAX_RETRY_SECONDS, MAX_RETRY_SECONDS]
    assert len([message for message in caplog.messages if "Connection refused" in message]) == 1


@pytest.mark.usefixtures("pauses")
def test_a_failure_in_between_loses_nothing_and_makes_a_new_connection():
    async def dialogue(log, server):
        server.failures = [BrokenPipeError(errno.EPIPE, "Broken pipe")]
        log.write(b"a")
        log.write(b"b")
        await server.has(b"7 a", b"7 b")

    _, server = run(dialogue)
    assert [link.is_closed for link in server.links] == [True, True]


@pytest.mark.usefixtures("pauses")
def test_a_connection_that_the_server_closed_is_not_used_again():
    async def dialogue(log, server):
        log.write(b"a")
        await server.has(b"7 a")
        server.links[0].is_lost = True
        log.write(b"b")
        await server.has(b"7 a", b"7 b")

    _, server = run(dialogue)
    assert len(server.links) == 2


@pytest.mark.usefixtures("pauses")
def test_a_connection_that_is_lost_between_two_batches():
    async def dialogue(log, server):
        server.loses_after = 1
        log.write(b"a")
        log.write(b"b")
        await server.has(b"7 a", b"7 b")

    _, server = run(dialogue)
    assert len(server.links) == 2


def test_reopening_connects_again_even_without_lines_and_during_a_pause():
    async def dialogue(log, server):
        log.write(b"a")
        await server.has(b"7 a")
        log.reopen()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(server.links) < 2:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
        server.refusals = 1
        log.reopen()
        log.reopen()
        log.write(b"b")
        await server.has(b"7 a", b"7 b")

    run(dialogue)


def test_the_end_sends_what_is_queued_at_once():
    async def dialogue(log, server):
        for number in range(200):
            log.write(b"%d" % number)
        await log.finish()
        assert len(server.got) == 200
        assert server.links[0].is_closed

    log, _ = run(dialogue)
    assert log.dropped_lines == 0


def test_the_end_does_not_wait_for_a_server_that_is_away(monkeypatch, caplog):
    monkeypatch.setattr(sending, "CLOSE_SECONDS", 0.01)

    async def dialogue(log, server):
        server.refusals = 1_000_000
        log.write(b"a")
        await log.finish()
        await log.finish()

    log, _ = run(dialogue)
    assert log.dropped_lines == 1
    assert "1 lines lost" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError(errno.EPIPE, None), "Broken pipe"),
        (ConnectionResetError(), "the connection was closed"),
        (TimeoutError(), "no answer in time"),
        (ssl.SSLError(1, "x"), "TLS failed: "),
    ],
)
def test_what_failed_is_said_in_words(error, words):
    assert in_words(error).startswith(words)


def test_a_certificate_that_is_not_trusted_is_named():
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    assert in_words(error) == "the server's certificate is not trusted: self-signed certificate"
