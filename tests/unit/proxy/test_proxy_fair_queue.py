"""Who goes on when, with what a read left over."""

import logging

import pytest

from gateway import clock
from gateway.proxy.fair_queue import TURN_SECONDS, FairQueue


class Loop:
    """Calls later what it is given, one turn at a time."""

    def __init__(self):
        self.due = []

    def call_soon(self, callback):
        self.due.append(callback)

    def turn(self):
        (callback,) = self.due
        self.due = []
        callback()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def fair_queue(loop):
    return FairQueue(loop)


@pytest.fixture
def took(monkeypatch):
    """Every piece takes so long."""
    seconds = [0.0, TURN_SECONDS]
    monkeypatch.setattr(clock, "monotonic_seconds", lambda: seconds[0])

    def takes():
        seconds[0] += seconds[1]

    def each(share):
        seconds[1] = share * TURN_SECONDS

    takes.each = each
    return takes


@pytest.fixture
def work(fair_queue, took):
    """Begin some pieces of work, one behind the other; what was done is in `done`."""
    done = []

    def begin(client, name, pieces=1):
        def go_on():
            nonlocal pieces
            took()
            done.append(name)
            pieces -= 1
            if pieces:
                fair_queue.wait(client, go_on)

        fair_queue.wait(client, go_on)

    begin.done = done
    return begin


def test_a_turn_does_no_more_than_its_time_lets_it(loop, work, took):
    took.each(0.25)
    work("one", "a", pieces=10)
    for count in (4, 8, 10):
        loop.turn()
        assert work.done == ["a"] * count
    assert not loop.due


def test_a_piece_that_takes_longer_is_alone_in_its_turn(loop, work, took):
    took.each(5)
    work("one", "a", pieces=2)
    loop.turn()
    assert work.done == ["a"]
    loop.turn()
    assert not loop.due


def test_clients_take_turns_and_not_their_connections(loop, work):
    for name in "abc":
        work("many", name, pieces=2)
    work("one", "x", pieces=3)
    while loop.due:
        loop.turn()
    assert "".join(work.done) == "axbxcxabc"


def test_what_begins_anew_is_served_anew(loop, work):
    for _ in range(2):
        work("one", "a")
        loop.turn()
        assert not loop.due
    assert work.done == ["a", "a"]


def test_the_failure_of_one_is_not_that_of_the_next(loop, fair_queue, work, caplog):
    def fails():
        raise ValueError("broken")

    fair_queue.wait("one", fails)
    work("other", "b")
    with caplog.at_level(logging.ERROR):
        loop.turn()
    assert work.done == ["b"]
    assert "broken" in caplog.text
