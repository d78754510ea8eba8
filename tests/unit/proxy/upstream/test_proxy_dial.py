"""The socket towards an upstream server."""

import asyncio
import os
import resource
import socket

import pytest

from gateway.proxy.upstream.dial import ExhaustedError, dial, peer_address


async def _connect(header_bytes):
    heard = asyncio.get_running_loop().create_future()

    async def server(reader, writer):
        heard.set_result(await reader.read())
        writer.close()

    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    made = await dial(["127.0.0.1"], port, header_bytes)
    with made:
        options = [
            made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        ]
    data = await heard
    listening.close()
    return options, data


def test_a_socket_says_the_proxy_header_first_and_is_kept_alive():
    assert asyncio.run(_connect(b"PROXY")) == ([1, 1], b"PROXY")
    assert asyncio.run(_connect(b"")) == ([1, 1], b"")


def test_a_socket_that_cannot_say_its_header_is_closed():
    class Loop(asyncio.SelectorEventLoop):
        async def sock_sendall(self, sock, _):
            self.seen = sock
            raise ConnectionResetError("reset")

    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(ConnectionResetError):
        loop.run_until_complete(dial(["127.0.0.1"], listening.getsockname()[1], b"PROXY"))
    assert loop.seen.fileno() == -1
    loop.close()


async def _reach(*addresses):
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    with await dial(addresses, listening.sockets[0].getsockname()[1], b"") as made:
        found = peer_address(made)
    listening.close()
    return found


def test_addresses_are_tried_until_one_answers():
    assert asyncio.run(_reach("::1", "127.0.0.3", "127.0.0.1")) == "127.0.0.1"


def test_when_no_address_answers_the_cause_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(OSError, match=r"Connect call failed|refused"):
            asyncio.run(dial(["127.0.0.3", "127.0.0.4"], port, b""))


def test_nothing_is_looked_up():
    with pytest.raises(socket.gaierror):
        asyncio.run(dial(["localhost"], 80, b""))


async def _dial_without_a_descriptor(*addresses):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.dup(0)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, hard))
    try:
        await dial(addresses, 9, b"")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.1"]])
def test_having_no_descriptor_left_is_told_from_a_server_that_cannot_be_reached(addresses):
    with pytest.raises(ExhaustedError, match="Too many open files"):
        asyncio.run(_dial_without_a_descriptor(*addresses))
