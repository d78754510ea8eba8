"""The keeper as the master sees it, and as a process: briefed over the channel, noticed when it says nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.config.model import Mail
from gateway.keeper.plan import Plan, to_message
from gateway.supervisor.helpers import keeper_process
from gateway.supervisor.helpers.keeper_role import SILENT_SECONDS, KeeperRole, become_keeper
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
UNIX = NOW.timestamp()
PLAN = Plan(
    store="sqlite:////nowhere/registry.db",
    folder=Path("/nowhere"),
    passphrase_files={},
    before=(timedelta(days=30),),
    mail=Mail("mail.example.com", 587, "g@example.com", password="secret"),
    contact=None,
    watched=frozenset(),
    trusting={},
)
REPORT = {
    "looked": UNIX,
    "authorities": [
        {
            "name": "corp",
            "ends": UNIX + 60,
            "list_ends": UNIX - 1,
            "list_number": 3,
            "is_kept": True,
            "certificates": {"live": 2},
        },
        {
            "name": "new",
            "ends": UNIX + 60,
            "list_ends": None,
            "list_number": 0,
            "is_kept": False,
            "certificates": {},
        },
    ],
    "ending": [[86400.0, 1]],
    "next": [{"serial": "0A", "name": "Alice", "email": None, "authority": "corp", "ends": UNIX + 5}],
    "problems": ["'old' was revoked"],
    "warnings": ["the list of 'new' is due"],
    "troubles": [{"what": "it", "cause": "broke", "remedy": "Mend it.", "since": UNIX, "retry_at": UNIX + 60}],
    "mails": {"sent": 1, "refused": 2},
    "notifications": {"is_up": False, "since": UNIX, "cause": "the server is away"},
}


class FakeChildren:
    """Starts nobody, and remembers what was said."""

    def __init__(self):
        self.running = []
        self.said = []
        self.outages = []
        self.is_replacing = False

    def of(self, role):
        return [child for child in self.running if child.role is role]

    def is_due(self, _role):
        return self.is_replacing

    def begin(self, role):
        self.running.append(SimpleNamespace(role=role, pid=len(self.running) + 1))
        role.on_started()

    def send(self, child, message):
        if message["do"] == "tell outages":
            self.outages.append(tuple(message["outages"]))
            return True
        assert set(message["environment"]) == {name for name in os.environ if name.startswith("PG")}
        self.said.append((child.pid, message["do"], message["plan"]))
        return True


@pytest.fixture
def time(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now.seconds)
    return now


@pytest.fixture
def children():
    return FakeChildren()


@pytest.fixture
def keeper(time, children):
    assert time.seconds
    return KeeperRole(children)


def _hear(keeper, children, message):
    keeper.role.hear(children.running[0], message)


def test_it_is_started_where_there_is_something_to_keep_and_briefed(keeper, children):
    keeper.follow(None)
    assert (children.running, keeper.describe(NOW), keeper.warnings) == ([], None, ())
    keeper.follow(PLAN)
    keeper.follow(PLAN)
    assert children.said == [(1, "keep", to_message(PLAN))]
    other = replace(PLAN, contact="helpdesk")
    keeper.follow(other)
    keeper.retry()
    keeper.follow(None)
    assert [plan for _, _, plan in children.said[1:]] == [to_message(other), to_message(other), None]
    assert len(children.running) == 1
    assert keeper.describe(NOW) is None


def test_a_successor_that_is_coming_is_not_started_twice_and_gets_the_newest_plan(keeper, children):
    keeper.follow(PLAN)
    children.running.clear()
    children.is_replacing = True
    other = replace(PLAN, contact="helpdesk")
    keeper.follow(other)
    assert children.running == []
    children.begin(keeper.role)
    assert children.said[-1] == (1, "keep", to_message(other))


def test_what_refuses_clients_is_told_when_it_changes_and_to_each_successor(keeper, children):
    keeper.tell_outages(("a list ended",))  # nothing is kept
    assert children.outages == []
    keeper.follow(PLAN)
    keeper.tell_outages(("a list ended",))
    assert children.outages == [("a list ended",)]
    keeper.tell_outages(())
    children.running.clear()
    children.begin(keeper.role)
    assert children.outages[1:] == [(), ()]


def test_its_report_is_told_with_the_time_that_is_left(keeper, children):
    keeper.follow(PLAN)
    assert keeper.describe(NOW)["looked"] is None
    _hear(keeper, children, {"is": "something else"})
    _hear(keeper, children, {"is": "kept", "report": REPORT})
    told = keeper.describe(NOW)
    assert (told["looked"], told["is_silent"]) == ("2026-11-24T12:00:00.000Z", False)
    corp, new = told["authorities"]
    assert (corp["seconds_left"], corp["list_seconds_left"], corp["certificates"]) == (60.0, -1.0, {"live": 2})
    assert (new["list_ends"], new["list_seconds_left"]) == (None, None)
    assert told["ending"] == [{"within_seconds": 86400.0, "count": 1}]
    assert (told["next"][0]["serial"], told["next"][0]["seconds_left"]) == ("0A", 5.0)
    assert told["troubles"][0]["retry_at"] == "2026-11-24T12:01:00.000Z"
    assert told["problems"] == ["'old' was revoked"]
    assert told["mails"] == {"sent": 1, "refused": 2}
    lost = {"is_up": False, "since": "2026-11-24T12:00:00.000Z", "cause": "the server is away"}
    assert told["notifications"] == lost
    _hear(keeper, children, {"is": "kept", "report": {**REPORT, "notifications": None}})
    assert keeper.describe(NOW)["notifications"] is None
    assert (keeper.problems, keeper.warnings) == (("'old' was revoked",), ("the list of 'new' is due",))


def test_what_was_told_by_another_plan_is_forgotten(keeper, children):
    keeper.follow(PLAN)
    _hear(keeper, children, {"is": "kept", "report": REPORT})
    keeper.follow(replace(PLAN, contact="helpdesk"))
    assert (keeper.describe(NOW)["looked"], keeper.problems, keeper.warnings) == (None, (), ())
    keeper.follow(None)
    _hear(keeper, children, {"is": "kept", "report": REPORT})  # that was under way
    assert keeper.warnings == ()


def test_one_that_says_nothing_is_noticed(keeper, children, time):
    keeper.follow(PLAN)
    time.seconds += SILENT_SECONDS
    assert not keeper.describe(NOW)["is_silent"]
    time.seconds += 1
    assert keeper.describe(NOW)["is_silent"]
    _hear(keeper, children, {"is": "kept", "report": REPORT})
    assert not keeper.describe(NOW)["is_silent"]


def test_only_the_channel_is_handed_on_and_nothing_secret(monkeypatch):
    ours, theirs = Channel.pair()
    started, ignored = [], []
    monkeypatch.setenv("SMTP_PASSWORD", "secret")
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(signal, "signal", lambda number, action: ignored.append((number, action)))
    become_keeper(theirs)
    ((program, arguments, environ),) = started
    assert arguments[0] == program
    assert arguments[-3:] == ["-m", "gateway.supervisor.helpers.keeper_process", str(theirs.fileno())]
    assert "secret" not in environ.values()
    assert os.get_inheritable(theirs.fileno())
    assert not os.get_inheritable(ours.fileno())
    assert set(ignored) == {(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)}
    ours.close()
    theirs.close()


def _converse(dialogue):
    """The process's loop, with a channel's end as its master."""
    ours, theirs = Channel.pair()
    heard = []

    async def both():
        link = AsyncChannel(ours, asyncio.get_running_loop(), heard.append, lambda: None)
        serving = asyncio.ensure_future(keeper_process.serve(theirs))
        await dialogue(link, heard)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await serving
        link.close()

    asyncio.run(both())
    ours.close()
    theirs.close()
    return heard


async def _until(holds):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - of what threads do
            await asyncio.sleep(0.01)


def test_the_process_does_what_it_is_told_and_ends_when_it_is_asked(monkeypatch):
    monkeypatch.setenv("PGAPPNAME", "before")

    async def dialogue(link, heard):
        link.send({"do": "something else"})
        link.send({"do": "keep", "plan": to_message(PLAN), "environment": {"PGAPPNAME": "gateway"}})
        await _until(lambda: heard)
        assert os.environ["PGAPPNAME"] == "gateway"
        link.send({"do": "keep", "plan": None, "environment": {}})
        os.kill(os.getpid(), signal.SIGTERM)

    heard = _converse(dialogue)
    assert heard[0]["is"] == "kept"
    assert "there is no registry" in heard[0]["report"]["troubles"][0]["cause"]
    assert "secret" not in str(heard)


def test_the_process_ends_with_its_master():
    async def dialogue(link, _heard):
        link.close()
        link._channel.close()

    assert _converse(dialogue) == []


def test_the_program_serves_its_channel(monkeypatch):
    ours, theirs = socket.socketpair()
    served = []
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: None)  # this test's own name stays
    monkeypatch.setattr(keeper_process.sys, "argv", ["keeper", str(theirs.detach())])

    async def serve(channel):
        served.append(channel.fileno())
        channel.close()

    monkeypatch.setattr(keeper_process, "serve", serve)
    keeper_process.main()
    ours.close()
    assert len(served) == 1
