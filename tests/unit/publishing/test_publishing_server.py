"""The publisher's process from inside: a channel's end as its master, and its socket for workers."""

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

import pytest
from sqlalchemy import update
from support.desk import make_authority, open_desk
from support.waiting import PATIENCE_SECONDS

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.published import Kind, Wanted
from gateway.http.relay import MAX_LINE_BYTES, Question, question_line, read_reply
from gateway.pki import pkcs8
from gateway.pki.registry.tables import AUTHORITIES
from gateway.publishing import server
from gateway.supervisor.helpers import publisher_process
from gateway.supervisor.processes.channel import Channel

LIST = Question(Wanted(Kind.LIST, "corp"))


class World:
    """The process's loop, its master, and workers that connect."""

    def __init__(self, folder):
        self.folder = folder
        self.ours, self.theirs = Channel.pair()
        self.listening = socket.socket(socket.AF_UNIX)
        (folder / "run").mkdir()
        self.path = folder / "run/publisher"
        self.listening.bind(str(self.path))
        self.listening.listen(8)
        self.store = f"sqlite:///{folder}/pki/registry.db"

    def run(self, dialogue, *, store=None):
        async def both():
            self.ours.send({"do": "something else"})
            place = {"store": store or self.store, "folder": str(self.folder / "pki"), "options": " -c gateway.yaml"}
            told = {**place, "environment": {"PGAPPNAME": "x"}}
            self.ours.send({"do": "publish", **told})
            self.serving = asyncio.ensure_future(publisher_process.serve(self.theirs, self.listening))
            try:
                await dialogue()
            finally:
                self.ours.close()
                await self.serving

        asyncio.run(asyncio.wait_for(both(), PATIENCE_SECONDS))

    async def say(self, data):
        """What comes back, until it hangs up."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(data)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def ask(self, question):
        line, _, body = (await self.say(question_line(question))).partition(b"\n")
        return read_reply(line), body

    def close(self):
        for each in (self.ours, self.theirs, self.listening):
            each.close()


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)
    monkeypatch.setenv("PGAPPNAME", "before")
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def desk(world):
    desk = open_desk(world.folder)
    make_authority(desk)
    yield desk
    desk.registry.close()


@pytest.mark.usefixtures("desk")
def test_it_answers_and_ends_with_its_master_which_it_cleans_up_after(world):
    async def dialogue():
        reply, body = await world.ask(LIST)
        assert (reply.status, reply.length_bytes) == (200, len(body))
        head, nothing = await world.ask(Question(LIST.wanted, is_head=True))
        assert (head.length_bytes, nothing) == (len(body), b"")
        with pytest.raises(RequestError) as raised:
            await world.ask(Question(Wanted(Kind.LIST, "nobody")))
        assert raised.value.reason is Reason.NOT_FOUND
        assert os.environ["PGAPPNAME"] == "x"
        assert world.path.exists()

    world.run(dialogue)
    assert not world.path.parent.exists()


@pytest.mark.usefixtures("desk")
def test_it_ends_when_it_is_told_to_and_leaves_the_socket_to_the_next(world):
    async def dialogue():
        await world.ask(LIST)
        os.kill(os.getpid(), signal.SIGTERM)
        await world.serving

    world.run(dialogue)
    assert world.path.exists()


def test_a_registry_that_is_made_later_is_found(world, caplog):
    async def dialogue():
        with pytest.raises(RequestError) as raised:
            await world.ask(LIST)
        assert raised.value.reason is Reason.NO_HEALTHY_UPSTREAM
        assert not (world.folder / "pki").exists()
        desk = open_desk(world.folder)
        make_authority(desk)
        desk.registry.close()
        assert (await world.ask(LIST))[0].status == 200

    world.run(dialogue)
    assert "unable to open database file" in caplog.text


def test_without_a_registry_that_can_be_meant_it_hangs_up(world, caplog):
    async def dialogue():
        assert await world.say(question_line(LIST)) == b""

    world.run(dialogue, store="mysql://root:hush@x/y")
    told = "pki.store: the registry does not support the database 'mysql'; nothing is published; write sqlite:///"
    assert told in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("data", [b"nonsense\n", b"{}\n", b"x" * (MAX_LINE_BYTES + 2)])
def test_nonsense_is_answered_with_nothing(world, caplog, data):
    async def dialogue():
        assert await world.say(data) == b""
        assert (await world.ask(LIST))[0].status == 200

    world.run(dialogue)
    assert (caplog.text != "") == (len(data) < MAX_LINE_BYTES)
    caplog.clear()


@pytest.mark.usefixtures("desk")
def test_a_worker_that_says_nothing_is_not_waited_for(world, monkeypatch):
    monkeypatch.setattr(server, "QUESTION_SECONDS", 0.01)

    async def dialogue():
        assert await world.say(b"{") == b""

    world.run(dialogue)


@pytest.mark.usefixtures("desk")
def test_more_than_can_be_served_at_once_are_turned_away(world, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)

    async def dialogue():
        await world.ask(LIST)
        _reader, writer = await asyncio.open_unix_connection(str(world.path))
        assert await world.say(question_line(LIST)) == b""
        writer.close()
        while True:
            if answer := await world.say(question_line(LIST)):
                break
        assert read_reply(answer.partition(b"\n")[0]).status == 200

    world.run(dialogue)


def test_a_long_list_goes_at_the_readers_pace(world, desk, monkeypatch):
    """What is not read stays here, and no more than a few chunks of it are in buffers."""
    body = os.urandom(8 * 1024 * 1024)
    with desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).values(crl_der=body))
    sent = []
    original = asyncio.StreamWriter.write
    monkeypatch.setattr(
        asyncio.StreamWriter, "write", lambda self, data: (sent.append(len(data)), original(self, data))[1]
    )

    async def dialogue():
        reader, writer = await asyncio.open_unix_connection(str(world.path), limit=1024)
        writer.write(question_line(LIST))
        assert read_reply(await reader.readline()).length_bytes == len(body)
        for _ in range(10 * len(body) // server.CHUNK_BYTES):  # turns enough to send all of it
            await asyncio.sleep(0)
        assert sum(sent) < len(body) // 2
        assert await reader.readexactly(len(body)) == body
        writer.close()

    world.run(dialogue)


def test_its_program_takes_descriptors(world, monkeypatch):
    served = []

    async def serve(channel, listening):
        served.append((channel.fileno(), listening.fileno()))
        channel.close()
        listening.close()

    monkeypatch.setattr(publisher_process, "serve", serve)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    comm = Path("/proc/self/comm")
    before = comm.read_text()
    channel, listening = (os.dup(each.fileno()) for each in (world.theirs, world.listening))
    monkeypatch.setattr("sys.argv", ["publisher", str(channel), str(listening)])
    publisher_process.main()
    comm.write_text(before)
    assert served == [(channel, listening)]
