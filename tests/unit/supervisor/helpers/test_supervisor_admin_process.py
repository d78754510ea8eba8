"""The admin process from inside, with a channel's end as its master; and what it is started with."""

import asyncio
import os
import signal
import socket

import pytest
from aiohttp import ClientSession
from support.admin_state import a_state
from support.waiting import PATIENCE_SECONDS

from gateway.config.model import Admin
from gateway.errors import OperationError
from gateway.supervisor.helpers import admin_process
from gateway.supervisor.helpers.admin_role import become_admin_process, open_admin
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel


class World:
    """The process's loop, a master that answers as told, and a port."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.ours, self.theirs = Channel.pair()
        self.listening = open_admin(Admin("127.0.0.1:0", "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.asked = []
        self.state = a_state()

    def run(self, dialogue, *, answers=True):
        async def both():
            def hear(message):
                self.asked.append(message)
                if answers:
                    self.channel.send({"is": "something else"})
                    self.channel.send({"is": "state", "number": message["number"] + 1000, "state": {}})
                    if message["do"] == "lift":
                        answer = {"address": message["address"], "outcome": "lifted"}
                        self.channel.send({"is": "lift", "number": message["number"], "answer": answer})
                    else:
                        self.channel.send({"is": "state", "number": message["number"], "state": self.state})

            self.channel = AsyncChannel(self.ours, asyncio.get_running_loop(), hear, lambda: None)
            serving = asyncio.ensure_future(admin_process.serve(self.theirs, self.listening, "127.0.0.1"))
            async with ClientSession() as session:
                try:
                    await dialogue(session)
                finally:
                    self.channel.close()
                    self.ours.close()
                    await serving

        asyncio.run(asyncio.wait_for(both(), PATIENCE_SECONDS))

    def close(self):
        for each in (self.ours, self.theirs, self.listening):
            each.close()


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    yield made
    made.close()


def test_it_tells_what_the_master_says_and_ends_with_it(world):
    async def dialogue(session):
        async with session.get(f"{world.url}/status") as answer:
            assert (answer.status, await answer.json()) == (200, a_state())

    world.run(dialogue)
    assert world.asked == [{"do": "state", "number": 1}]


def test_a_path_that_is_no_utf8_is_told_as_far_as_it_can_be_read(world):
    world.state = a_state(config=os.fsdecode(b"/caf\xe9/config.yaml"))

    async def dialogue(session):
        async with session.get(f"{world.url}/status") as answer:
            assert (await answer.json())["config"] == "/caf?/config.yaml"
        async with session.get(f"{world.url}/metrics") as answer:
            assert answer.status == 200

    world.run(dialogue)


def test_it_hands_on_whom_to_let_in(world):
    async def dialogue(session):
        headers = {"X-Gateway-Command": "unban"}
        body = {"address": "192.0.2.1", "by": "root"}
        async with session.post(f"{world.url}/unban", json=body, headers=headers) as answer:
            assert await answer.json() == {"address": "192.0.2.1", "outcome": "lifted"}

    world.run(dialogue)
    asked_by = "'root' at 127.0.0.1"
    assert world.asked == [{"do": "lift", "address": "192.0.2.1", "asked_by": asked_by, "number": 1}]


def test_a_master_that_says_nothing_is_not_waited_for_forever(world, monkeypatch):
    monkeypatch.setattr(admin_process, "MASTER_SECONDS", 0.05)

    async def dialogue(session):
        async with session.get(f"{world.url}/healthz") as answer:
            assert answer.status == 503
            assert (await answer.text()).startswith("the master process did not answer within 0.05 s; read the")

    world.run(dialogue, answers=False)


def test_an_answer_that_comes_too_late_hurts_nobody(world, monkeypatch):
    monkeypatch.setattr(admin_process, "MASTER_SECONDS", 0.01)

    async def dialogue(session):
        async with session.get(f"{world.url}/healthz") as answer:
            assert answer.status == 503
        world.channel.send({"is": "state", "number": 1, "state": world.state})
        world.channel.send({"is": "state", "number": 1, "state": world.state})
        async with session.get(f"{world.url}/nothing") as answer:
            assert answer.status == 404

    world.run(dialogue, answers=False)


def test_it_ends_when_it_is_told_to(world):
    async def dialogue(session):
        async with session.get(f"{world.url}/healthz") as answer:
            assert answer.status == 200
        os.kill(os.getpid(), signal.SIGTERM)

    world.run(dialogue)


def test_only_the_channel_and_the_socket_are_handed_on(monkeypatch, world):
    """Everything else of the master's closes by itself: descriptors are not inheritable unless they are made so."""
    started = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    ignored = []
    monkeypatch.setattr(signal, "signal", lambda number, action: ignored.append((number, action)))
    become_admin_process(world.theirs, world.listening, "")
    ((program, arguments, _),) = started
    assert arguments == [
        *(program, "-P", "-W", "ignore::UserWarning", "-m", "gateway.supervisor.helpers.admin_process"),
        *(str(world.theirs.fileno()), str(world.listening.fileno()), ""),
    ]
    assert os.get_inheritable(world.theirs.fileno())
    assert os.get_inheritable(world.listening.fileno())
    assert not os.get_inheritable(world.ours.fileno())
    assert set(ignored) == {(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)}


def test_a_port_that_is_taken_is_told_as_the_admin_sections():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperationError) as raised:
            open_admin(Admin(f"127.0.0.1:{port}", "127.0.0.1", port))
    assert raised.value.cause == f"admin.address: listen 127.0.0.1:{port}: Address already in use"
    assert "stop the other program that listens there" in raised.value.remedy
