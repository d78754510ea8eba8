"""Datagrams and streams over real sockets: whole messages, back-pressure, and failures that end no queue."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway.logs import links
from gateway.logs.line_queue import LineQueue
from gateway.logs.links import (
    UDP_BATCH_LINES,
    UDP_PAUSE_SECONDS,
    DatagramLink,
    StreamLink,
    connect_datagrams,
    connect_stream,
    connect_unix,
)


def queue_of(*messages: bytes) -> LineQueue:
    queue = LineQueue("there", "look")
    for message in messages:
        queue.put(message)
    return queue


def receiver(family=socket.AF_INET, address=("127.0.0.1", 0)) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(address)
    sock.settimeout(PATIENCE_SECONDS)
    return sock


async def send_all(link, queue) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(queue):
            await link.send(queue)


def test_a_datagram_is_a_message():
    async def dialogue(server):
        link = await connect_datagrams(*server.getsockname())
        await send_all(link, queue_of(b"one\ntwo", b"three"))
        await link.close()

    with closing(receiver()) as server:
        asyncio.run(dialogue(server))
        assert [server.recv(99) for _ in range(2)] == [b"one\ntwo", b"three"]


def test_many_datagrams_are_sent_in_batches_with_pauses(monkeypatch):
    pauses = []
    whole = asyncio.sleep

    async def sleep(seconds):
        pauses.append(seconds)
        await whole(0)

    async def dialogue(server):
        link = await connect_datagrams(*server.getsockname())
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await send_all(link, queue_of(*[b"x"] * (2 * UDP_BATCH_LINES + 1)))
        await link.close()

    with closing(receiver()) as server:
        asyncio.run(dialogue(server))
    assert pauses == [UDP_PAUSE_SECONDS] * 2


def test_a_message_that_no_datagram_can_hold_does_not_hold_up_the_others(caplog):
    async def dialogue(server, queue):
        link = await connect_datagrams(*server.getsockname())
        await send_all(link, queue)
        link.abort()

    with closing(receiver()) as server:
        queue = queue_of(b"x" * 65_508, b"after")
        asyncio.run(dialogue(server, queue))
        assert server.recv(99) == b"after"
        assert queue.dropped_lines == 1
        assert "a line of 65508 bytes is too long for a datagram" in caplog.text


def test_a_port_that_refuses_is_an_error_and_the_message_stays():
    async def dialogue(address):
        link = await connect_datagrams(*address)
        queue = queue_of(*[b"x"] * 50)
        with pytest.raises(ConnectionRefusedError):
            await send_all(link, queue)
        assert len(queue) > 0
        link.abort()

    with closing(receiver()) as server:
        address = server.getsockname()
    asyncio.run(dialogue(address))


def test_a_reader_whose_queue_is_full_is_waited_for(tmp_path):
    """The kernel takes some hundred datagrams for a unix socket that nobody reads."""

    async def dialogue(server, messages):
        link = await connect_unix(str(tmp_path / "log"))
        sending = asyncio.create_task(send_all(link, queue_of(*messages)))
        found = [await asyncio.to_thread(server.recv, 99) for _ in messages]
        await sending
        await link.close()
        return found

    messages = [b"%d" % number for number in range(3000)]
    with closing(receiver(socket.AF_UNIX, str(tmp_path / "log"))) as server:
        assert asyncio.run(dialogue(server, messages)) == messages


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_a_full_queue_is_no_failure(number):
    async def dialogue():
        def refuse(_sock, _message):
            raise OSError(number, "full")

        queue = queue_of(b"x")
        with socket.socket() as sock:
            await DatagramLink(sock, refuse).send(queue)
        assert len(queue) == 1

    asyncio.run(dialogue())


def test_a_socket_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        asyncio.run(connect_unix(str(tmp_path / "log")))


@asynccontextmanager
async def listening(handle) -> AsyncIterator[tuple[str, int]]:
    """The address of a server for one connection; at the end, its socket is closed."""
    ended = asyncio.Event()

    async def whole(reader, writer):
        try:
            await handle(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            ended.set()

    async with await asyncio.start_server(whole, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended.wait()


def test_a_stream_carries_the_messages_one_after_the_other():
    got = bytearray()

    async def read(reader, _writer):
        got.extend(await reader.read(-1))

    async def dialogue():
        async with listening(read) as address:
            link = await connect_stream(*address)
            await send_all(link, queue_of(*[b"%d " % number for number in range(1000)]))
            await link.close()
            assert link.is_lost

    asyncio.run(dialogue())
    assert bytes(got) == b"".join(b"%d " % number for number in range(1000))


def test_a_server_that_does_not_read_is_given_up_and_its_batch_stays(monkeypatch):
    monkeypatch.setattr(links, "SEND_SECONDS", 0.05)

    async def dialogue():
        ended = asyncio.Event()

        async def hold(_reader, writer):
            writer.transport.pause_reading()
            await ended.wait()

        async with listening(hold) as address:
            link = await connect_stream(*address)
            queue = queue_of(*[b"x" * 1_000_000] * 15)
            with pytest.raises(TimeoutError):
                await send_all(link, queue)
            assert len(queue) > 0
            link.abort()
            ended.set()

    asyncio.run(dialogue())


def test_a_server_that_closes_is_noticed_at_once_and_its_words_are_ignored():
    async def dialogue():
        async def close(_reader, writer):
            writer.write(b"hello")

        async with listening(close) as address:
            link = await connect_stream(*address)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not link.is_lost:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0)
            queue = queue_of(b"x")
            with pytest.raises(ConnectionResetError):
                await link.send(queue)
            assert len(queue) == 1

    asyncio.run(dialogue())


def test_a_connection_that_breaks_during_a_batch_leaves_the_batch_in_the_queue():
    async def dialogue():
        loop = asyncio.get_running_loop()
        link = StreamLink()

        class Transport:
            def set_write_buffer_limits(self, high, low):
                assert (high, low) == (1, 0)

            def write(self, _data):
                link.pause_writing()
                loop.call_soon(link.connection_lost, BrokenPipeError(errno.EPIPE, "Broken pipe"))

        link.connection_made(Transport())
        queue = queue_of(b"a", b"b")
        with pytest.raises(BrokenPipeError):
            await link.send(queue)
        assert queue.head(9, 9) == [b"a", b"b"]

    asyncio.run(dialogue())


def test_the_next_address_of_a_name_is_tried(monkeypatch):
    async def dialogue():
        async def close(_reader, _writer):
            pass

        async def look_up(_host, port, kind):
            return [(socket.AF_INET, kind, 0, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]

        monkeypatch.setattr(links, "_look_up", look_up)
        async with listening(close) as address:
            link = await connect_stream("logs.example.com", address[1])
            link.abort()

    asyncio.run(dialogue())


def test_no_address_answers():
    with closing(receiver()) as taken, pytest.raises(ConnectionRefusedError):
        asyncio.run(connect_stream(*taken.getsockname()))
