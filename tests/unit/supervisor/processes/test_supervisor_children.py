"""Real children: forked, heard, ended and replaced."""

import contextlib
import errno
import logging
import os
import selectors
import signal
import time
from pathlib import Path

import pytest
from support.waiting import until

from gateway import clock
from gateway.supervisor.processes.channel import ChannelClosed
from gateway.supervisor.processes.children import MAX_DELAY_SECONDS, STEADY_SECONDS, Children, Role

BIG = "x" * 3_000_000  # more than any socket buffer takes at once


class Parent:
    """A master's loop, as far as children concern it."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.children = Children(self.selector, self.let_go)
        self.heard = []
        self.started = 0

    def let_go(self):
        self.children.let_go()

    def role(self, main, name="helper"):
        return Role(name, main, lambda child, message: self.heard.append((child.pid, message)), self.count)

    def count(self):
        self.started += 1

    def turn(self):
        for key, events in self.selector.select(0.01):
            self.children.on_event(key.data, events)
        return self.heard

    def reap_after_turn(self):
        self.turn()
        return self.children.reap()

    def wait_for_end(self):
        return until(self.reap_after_turn, "a child has ended")

    def close(self):
        self.children.end()
        self.children.signal(None, signal.SIGKILL)
        until(lambda: self.children.reap() is not None and not list(self.children), "all children have ended")
        self.selector.close()


@pytest.fixture
def parent():
    made = Parent()
    yield made
    made.close()


def hear_all(channel, answer):
    """A child that answers every message until the master is gone."""
    with contextlib.suppress(ChannelClosed), selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            selector.select()
            for message in channel.receive():
                channel.send(answer(message))
                while channel.has_unsent:
                    channel.flush()


def echo(channel):
    hear_all(channel, lambda message: message)


def end_at_once(_channel):
    pass


def fail(_channel):
    raise ValueError("a child's mistake")


def test_a_message_goes_there_and_back(parent):
    parent.children.start(parent.role(echo))
    (child,) = parent.children
    assert parent.children.send(child, {"say": 1})
    until(parent.turn, "the answer")
    assert parent.heard == [(child.pid, {"say": 1})]
    assert parent.started == 1


def test_what_the_socket_does_not_take_at_once_follows_as_soon_as_it_does(parent):
    parent.children.start(parent.role(echo))
    (child,) = parent.children
    assert parent.children.send(child, {"say": BIG})
    assert child.channel.has_unsent
    until(parent.turn, "the answer")
    assert parent.heard == [(child.pid, {"say": BIG})]
    assert not child.channel.has_unsent
    # Nothing is left to be written, so a selector that waits does wait.
    assert [events for _, events in parent.selector.select(0)] == []


def test_in_a_child_its_siblings_channels_are_closed(parent):
    """Else a sibling's channel would outlive the master, and nobody would notice that it is gone."""
    parent.children.start(parent.role(echo))
    (first,) = parent.children
    inode = os.fstat(first.channel.fileno()).st_ino

    def tell_inodes(channel):
        open_inodes = []
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                open_inodes.append(path.stat().st_ino)
        channel.send({"open": open_inodes})
        echo(channel)

    parent.children.start(parent.role(tell_inodes))
    until(parent.turn, "what it has open")
    assert inode not in parent.heard[0][1]["open"]


@pytest.mark.parametrize(("main", "status"), [(end_at_once, "exit status 0"), (fail, "exit status 1")])
def test_a_child_that_ends_is_told_and_replaced(parent, caplog, main, status):
    role = parent.role(main)
    with caplog.at_level(logging.ERROR):
        parent.children.start(role)
        (ended,) = parent.wait_for_end()
    assert caplog.messages == [f"helper {ended.pid} ended ({status}); a new one starts in 0.1 s"]
    assert parent.children.replaced[role] == 1
    assert not list(parent.children)
    until(lambda: parent.children.replace() or list(parent.children), "a new one")
    assert parent.started == 2


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "signal SIGKILL"), (40, "signal 40")])
def test_a_child_that_is_killed_is_told_with_the_signal(parent, caplog, number, name):
    parent.children.start(parent.role(echo))
    (child,) = parent.children
    os.kill(child.pid, number)
    assert parent.wait_for_end() == [child]
    assert f"({name})" in caplog.messages[-1]
    assert not parent.children.send(child, {"say": 1})


def test_who_keeps_dying_is_started_ever_more_slowly_and_a_steady_run_forgives(parent, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now[0])
    role = parent.role(end_at_once)
    delays = []
    for lifetime in [0.0] * 11 + [STEADY_SECONDS] + [0.0]:
        parent.children.start(role)
        ended = []
        while not ended:  # the real clock stands still here, so `until` can't be asked
            time.sleep(0.001)
            now[0] += lifetime
            ended = parent.children.reap()
            lifetime = 0.0  # noqa: PLW2901 - it has lived that long
        due = parent.children.due_seconds()
        delays.append(round(due - now[0], 6))
        parent.children._due.clear()
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS, 0.0, 0.1]


def test_nobody_is_replaced_before_the_time(parent, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now[0])
    role = parent.role(echo)
    parent.children._due.append((now[0] + 1, role))
    parent.children.replace()
    assert (parent.started, parent.children.due_seconds()) == (0, now[0] + 1)
    now[0] += 1
    parent.children.replace()
    assert (parent.started, parent.children.due_seconds()) == (1, None)


def test_who_cannot_be_started_is_tried_again_and_the_master_goes_on(parent, monkeypatch, caplog):
    def no_process():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: now[0])
    role = parent.role(echo)
    with monkeypatch.context() as full:
        full.setattr(os, "fork", no_process)
        parent.children.begin(role)
        for delay in (0.1, 0.2):
            parent.children.replace()
            assert parent.children.due_seconds() == now[0] + delay
            now[0] += delay
    assert "helper cannot be started: Resource temporarily unavailable" in caplog.messages[0]
    assert "it is tried again in 0.1 s" in caplog.messages[0]
    parent.children.replace()
    assert (parent.started, parent.children.due_seconds()) == (1, None)


def test_at_the_end_nobody_is_replaced(parent, caplog):
    role = parent.role(echo)
    parent.children.start(role)
    parent.children.end()
    parent.children.signal(role, signal.SIGTERM)
    assert len(parent.wait_for_end()) == 1
    assert (parent.children.due_seconds(), parent.children.replaced[role], caplog.messages) == (None, 0, [])


def test_a_signal_reaches_one_role_or_all(parent):
    one, other = parent.role(echo, "one"), parent.role(echo, "other")
    parent.children.start(one)
    parent.children.start(other)
    parent.children.signal(one, signal.SIGTERM)
    (ended,) = parent.wait_for_end()
    assert ended.role is one
    assert [child.role for child in parent.children] == [other]
    parent.children.signal(None, signal.SIGTERM)
    assert parent.wait_for_end()[0].role is other


def test_a_process_that_was_not_started_here_leaves_no_trace(parent):
    """As process 1 of a container, the master inherits other programs' children."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    parent.children.start(parent.role(end_at_once))
    (child,) = parent.wait_for_end()
    assert child.pid != pid
    until(lambda: parent.children.reap() is not None and not Path(f"/proc/{pid}").exists(), "the other's end")


def test_a_child_that_says_nonsense_is_heard_no_more(parent):
    def babble(channel):
        os.write(channel.fileno(), b"this is no JSON\n")
        signal.pause()

    parent.children.start(parent.role(babble))
    (child,) = parent.children
    until(lambda: parent.turn() or not parent.selector.get_map(), "the channel is let go")
    assert parent.heard == []
    parent.children.signal(None, signal.SIGKILL)
    assert parent.wait_for_end() == [child]


def test_a_message_that_cannot_be_understood_does_not_end_the_master(parent, caplog):
    def hear(child, message):
        parent.heard.append((child.pid, message))
        if message == 1:
            raise KeyError("unheard-of")

    def talk(channel):
        os.write(channel.fileno(), b'{"say": 1}\n{"say": 2}\n')
        signal.pause()

    parent.children.start(Role("helper", talk, lambda child, message: hear(child, message["say"])))
    until(lambda: len(parent.turn()) == 2, "both are heard")
    assert [said for _, said in parent.heard] == [1, 2]
    assert "unheard-of" in caplog.text
