"""Connecting in a worker's loop: to an address at once, and without a thread that a name server could hold up."""

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys

import pytest

from gateway.supervisor.worker.loop import WorkerLoop


@pytest.fixture
def loop():
    made = WorkerLoop()
    yield made
    made.close()


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def client(family=socket.AF_INET):
    made = socket.socket(family)
    made.setblocking(False)
    return made


def test_an_address_that_listens(loop, listening):
    with client() as connected:
        loop.run_until_complete(loop.sock_connect(connected, listening.getsockname()))
        accepted, address = listening.accept()
        accepted.close()
        assert connected.getsockname() == address


def test_ipv6(loop):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening, client(socket.AF_INET6) as connected:
        loop.run_until_complete(loop.sock_connect(connected, listening.getsockname()))
        assert connected.getpeername() == listening.getsockname()


def test_an_address_where_nobody_listens(loop, listening):
    address = listening.getsockname()
    listening.close()
    with client() as connected, pytest.raises(ConnectionRefusedError, match="Connect call failed") as caught:
        loop.run_until_complete(loop.sock_connect(connected, address))
    assert caught.value.errno == errno.ECONNREFUSED


def test_an_address_that_is_none(loop):
    with client() as connected, pytest.raises(OSError, match=r"Invalid argument|unreachable|not permitted|denied"):
        loop.run_until_complete(loop.sock_connect(connected, ("255.255.255.255", 1)))


def full():
    """A listening socket whose queue is full, so that further connections wait; and those that fill it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting = [client() for _ in range(8)]
    for each in waiting:
        with contextlib.suppress(BlockingIOError):
            each.connect(listening.getsockname())
    return listening, waiting


def test_who_gives_up_waiting_leaves_nothing_behind(loop):
    listening, waiting = full()

    async def give_up(connected):
        connecting = asyncio.ensure_future(loop.sock_connect(connected, listening.getsockname()))
        await asyncio.sleep(0)  # it has begun
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        return loop.remove_writer(connected)

    with client() as connected:
        assert not loop.run_until_complete(give_up(connected))
    for each in (listening, *waiting):
        each.close()


def test_a_name_is_looked_up_and_a_path_is_none(loop, listening, tmp_path):
    port = listening.getsockname()[1]
    with client() as connected:
        loop.run_until_complete(loop.sock_connect(connected, ("localhost", port)))
        assert connected.getpeername() == ("127.0.0.1", port)
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as local, client(socket.AF_UNIX) as connected:
        local.bind(path)
        local.listen()
        loop.run_until_complete(loop.sock_connect(connected, path))
        assert connected.getpeername() == path


# In a process of its own, where nothing has started a thread yet.
THREADS = """
import asyncio, os, socket
from aiohappyeyeballs import start_connection
from gateway.supervisor.worker.loop import WorkerLoop
listening = socket.create_server(("127.0.0.1", 0))
found = socket.getaddrinfo(*listening.getsockname(), type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
loop = WorkerLoop()
loop.run_until_complete(start_connection(found)).close()
print(len(os.listdir("/proc/self/task")))
loop.close()
"""


def test_an_address_needs_no_thread():
    told = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout == "1\n", told
