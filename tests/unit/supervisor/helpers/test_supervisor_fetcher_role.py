"""The fetcher as the master sees it: told what to fetch over the channel, and replaced where it does not read."""

import os
import signal
from types import SimpleNamespace

import pytest
from support.pki import Ca

from gateway.fetching.list_store import ListStore
from gateway.fetching.plan import to_message
from gateway.supervisor.helpers.fetcher_role import FetcherRole, become_fetcher
from gateway.supervisor.processes.channel import Channel

ROOT = Ca.make()
PLAN = {"http://a/ca.crl": (ROOT.certificate,)}
OTHER = {**PLAN, "http://b/": (ROOT.certificate,)}


class FakeChildren:
    """Starts no process, and remembers what was said."""

    def __init__(self):
        self.running = []
        self.said = []
        self.is_replacing = False
        self.is_read = True

    def of(self, role):
        return [child for child in self.running if child.role is role]

    def is_due(self, _role):
        return self.is_replacing

    def begin(self, role):
        self.running.append(SimpleNamespace(role=role, pid=len(self.running) + 1))
        role.on_started()

    def send(self, child, message):
        self.said.append((child.pid, message))
        return self.is_read


@pytest.fixture
def children():
    return FakeChildren()


@pytest.fixture
def store(tmp_path):
    return ListStore(tmp_path / "crl", tmp_path / "fallback")


@pytest.fixture
def fetcher(children, store):
    return FetcherRole(children, store)


def briefing(plan, store):
    return {"do": "fetch", "plan": to_message(plan, store)}


def test_it_is_started_where_there_is_something_to_fetch_and_told_both_folders(fetcher, children, store):
    fetcher.follow({})
    fetcher.fetch_now()
    assert (children.running, children.said) == ([], [])
    fetcher.follow(PLAN)
    fetcher.follow(dict(PLAN))  # nothing new
    assert children.said == [(1, briefing(PLAN, store))]
    told = children.said[0][1]["plan"]
    assert (told["folder"], told["fallback"]) == (str(store.folder), str(store.fallback))
    fetcher.follow(OTHER)
    fetcher.fetch_now()
    fetcher.follow({})
    assert children.said[1:] == [(1, briefing(OTHER, store)), (1, {"do": "fetch now"}), (1, briefing({}, store))]
    assert len(children.running) == 1
    assert fetcher.role.hear(children.running[0], {"is": "anything"}) is None


def test_a_successor_that_is_coming_is_not_started_twice_and_gets_the_newest_plan(fetcher, children, store):
    fetcher.follow(PLAN)
    children.running.clear()
    children.is_replacing = True
    fetcher.follow(OTHER)
    assert children.running == []
    children.begin(fetcher.role)
    assert children.said[-1] == (1, briefing(OTHER, store))


def test_one_that_does_not_read_is_ended(fetcher, children, monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    fetcher.follow(PLAN)
    assert killed == []
    children.is_read = False
    fetcher.follow(OTHER)
    assert killed == [(1, signal.SIGKILL)]


def test_only_the_channel_is_handed_on_and_nothing_secret(monkeypatch):
    ours, theirs = Channel.pair()
    started = []
    monkeypatch.setenv("MAIL_KEY_PASSWORD", "secret")
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    become_fetcher(theirs)
    ((program, arguments, environ),) = started
    assert arguments[0] == program
    assert arguments[-3:] == ["-m", "gateway.supervisor.helpers.fetcher_process", str(theirs.fileno())]
    assert "secret" not in environ.values()
    assert not os.get_inheritable(ours.fileno())
    ours.close()
    theirs.close()
