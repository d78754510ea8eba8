"""The fetcher as the master sees it: real processes that run, are told, die and are replaced."""

import errno
import os
import signal

import pytest
from support.pki import Ca
from support.waiting import until

from gateway import clock
from gateway.supervisor import fetcher, fetching
from gateway.supervisor.channel import ChannelClosed
from gateway.supervisor.fetching import FetcherKeeper
from gateway.supervisor.lists import ListStore

ROOT = Ca.make()
PLAN = {"http://a/ca.crl": (ROOT.certificate,)}


class World:
    """A keeper whose fetchers write what they hear into a file, and a clock."""

    def __init__(self, tmp_path, monkeypatch):
        self.heard = tmp_path / "heard"
        self.heard.touch()
        self.seconds = 1000.0
        self.fails = False
        self.is_deaf = False
        self.let_go = 0
        self.ended = []
        monkeypatch.setattr(fetcher, "serve", self.serve)
        monkeypatch.setattr(clock, "monotonic_seconds", lambda: self.seconds)
        self.keeper = FetcherKeeper(ListStore(tmp_path / "crl", tmp_path / "fallback"), self.leave)

    def leave(self):
        with self.heard.open("a") as file:
            file.write("let go\n")

    def serve(self, plan, _store, channel):
        """In the child."""
        if self.fails:
            raise RuntimeError("on purpose")
        if self.is_deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with self.heard.open("a") as file:
            file.write(f"{len(plan)} {os.getpid()}\n")
            file.flush()
            while True:
                try:
                    for message in channel.receive():
                        file.write(f"{message}\n")
                        file.flush()
                except ChannelClosed:
                    return
                signal.sigtimedwait((signal.SIGALRM,), 0.01)

    def starts(self):
        return [int(line.split()[1]) for line in self.heard.read_text().splitlines() if line[0].isdigit()]

    def running(self, count):
        until(lambda: len(self.starts()) == count, f"{count} starts")
        return self.starts()[-1]

    def reap(self):
        """Wait for the one child that ends, and tell the keeper."""
        process, _status = os.waitpid(-1, 0)
        return self.keeper.ended(process)


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path, monkeypatch)
    yield made
    made.keeper.end()
    if made.keeper.is_running:
        made.keeper.stop(signal.SIGKILL)
        made.reap()


def test_it_runs_while_there_is_something_to_fetch_and_hears_the_master(world):
    world.keeper.follow({})
    world.keeper.fetch_now()
    assert not world.keeper.is_running
    world.keeper.follow(PLAN)
    world.running(1)
    world.keeper.fetch_now()
    until(lambda: "{'do': 'fetch'}" in world.heard.read_text(), "the message")
    assert "let go" in world.heard.read_text()
    world.keeper.follow(dict(PLAN))  # nothing new
    world.keeper.follow({})
    assert world.reap()
    world.keeper.tick()
    assert not world.keeper.is_running
    assert not world.keeper.ended(1)


def test_another_plan_starts_another_when_the_first_has_ended(world):
    world.keeper.follow(PLAN)
    world.running(1)
    world.keeper.follow({**PLAN, "http://b/": (ROOT.certificate,)})
    world.keeper.tick()
    assert len(world.starts()) == 1
    world.reap()
    world.keeper.tick()
    world.running(2)
    assert world.heard.read_text().splitlines()[-1].startswith("2 ")


def test_one_that_keeps_dying_is_replaced_ever_later(world, caplog):
    world.fails = True
    world.keeper.follow(PLAN)
    for delay in (1, 2, 4, 8, 16, 32, 60, 60):
        assert world.reap()
        assert f"a new one starts in {delay} s" in caplog.text
        caplog.clear()
        world.seconds += delay - 0.5
        world.keeper.tick()
        assert not world.keeper.is_running
        world.seconds += 0.5
        world.keeper.tick()
        assert world.keeper.is_running


def test_one_that_cannot_be_started_is_tried_again_and_the_master_goes_on(world, monkeypatch, caplog):
    def no_process():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(os, "fork", no_process)
        world.keeper.follow(PLAN)
        for delay in (1, 2):
            assert "the fetcher cannot be started: Resource temporarily unavailable" in caplog.text
            assert f"it is tried again in {delay} s" in caplog.text
            world.seconds += delay
            world.keeper.tick()
    assert not world.keeper.is_running
    world.seconds += 4
    world.keeper.tick()
    world.running(1)


def test_one_that_ran_for_long_is_replaced_at_once(world):
    world.keeper.follow(PLAN)
    os.kill(world.running(1), signal.SIGKILL)
    world.seconds += fetching.STEADY_SECONDS
    assert world.reap()
    world.keeper.tick()
    world.running(2)


def test_one_that_does_not_end_is_made_to(world):
    world.is_deaf = True
    world.keeper.follow(PLAN)
    world.running(1)
    world.keeper.follow({})
    world.seconds += fetching.KILL_AFTER_SECONDS - 1
    world.keeper.tick()
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    world.seconds += 1
    world.keeper.tick()
    assert world.reap()


def test_one_that_is_gone_cannot_be_told(world, caplog):
    world.keeper.follow(PLAN)
    os.kill(world.running(1), signal.SIGKILL)
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    world.keeper.fetch_now()
    assert "does not listen" in caplog.text
    assert world.reap()
