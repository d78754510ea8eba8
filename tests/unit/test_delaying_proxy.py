"""The proxy of the tests that delays: what arrives, in which order, and when by its own clock."""

from __future__ import annotations

import asyncio

from support.delaying_proxy import HOST, DelayingProxy, Line

BLOCK = bytes(range(256)) * 256
BLOCKS = 64


def test_each_part_arrives_as_late_as_the_others_and_in_order():
    line = Line(0.5)
    assert [line.send(part, now) for part, now in ((b"a", 1.0), (b"b", 1.25), (b"", 1.25))] == [1.5, 1.75, 1.75]
    assert line.receive(1.25) == []
    assert line.receive(1.5) == [b"a"]
    assert line.receive(9.0) == [b"b", b""]
    assert line.receive(9.0) == []


def test_what_is_sent_before_the_connection_is_open_waits_for_it():
    line = Line(0.5, opens_at=2.0)
    assert [line.send(part, now) for part, now in ((b"a", 1.0), (b"b", 1.9), (b"c", 2.5))] == [2.5, 2.5, 3.0]
    assert line.receive(2.5) == [b"a", b"b"]


def through_proxy(server, client, clients=1):
    """Run the server's side and the client's with the proxy between them; the number of connections."""

    async def served(reader, writer):
        await server(reader, writer)
        writer.close()

    async def asked(port):
        reader, writer = await asyncio.open_connection(HOST, port)
        await client(reader, writer)
        writer.close()
        await writer.wait_closed()

    async def run():
        async with await asyncio.start_server(served, HOST, 0) as listening:
            proxy = DelayingProxy(listening.sockets[0].getsockname()[1], 0.001)
            async with await proxy.listen(0) as front:
                port = front.sockets[0].getsockname()[1]
                await asyncio.gather(*(asked(port) for _ in range(clients)))
            return proxy.connections

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_both_directions_carry_every_byte_in_order_and_at_once():
    """Both send all of it before they read."""
    received = []

    async def end(reader, writer):
        for _ in range(BLOCKS):
            writer.write(BLOCK)
        writer.write_eof()
        received.append(await reader.read(-1))

    assert through_proxy(end, end) == 1
    assert received == [BLOCK * BLOCKS] * 2


def test_one_direction_ends_while_the_other_goes_on():
    async def server(reader, writer):
        question = await reader.read(-1)  # up to the client's end
        writer.write(question.upper())
        await writer.drain()

    async def client(reader, writer):
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read(-1) == b"QUESTION"

    assert through_proxy(server, client, clients=3) == 3


def test_a_server_that_closes_ends_the_clients_connection():
    async def server(_, writer):
        writer.write(b"bye")
        await writer.drain()

    async def client(reader, _):
        assert await reader.read(-1) == b"bye"

    through_proxy(server, client)


def test_without_a_server_the_connection_ends():
    async def ask():
        async with await asyncio.start_server(lambda *_: None, HOST, 0) as gone:
            port = gone.sockets[0].getsockname()[1]
        async with await DelayingProxy(port, 0.001).listen(0) as front:
            reader, writer = await asyncio.open_connection(HOST, front.sockets[0].getsockname()[1])
            assert await reader.read(-1) == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(ask(), 60))
