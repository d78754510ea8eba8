"""Workers that hang are ended, and no others."""

import signal
from dataclasses import dataclass

import pytest

from gateway.supervisor import watchdog
from gateway.supervisor.watchdog import HUNG_SECONDS, MAX_STEP_SECONDS, PING_SECONDS, Watchdog


@dataclass(frozen=True, eq=False)
class Worker:
    pid: int


class Workers:
    """The workers, their channels and the clock."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.alive = [Worker(1), Worker(2)]
        self.pinged, self.killed = [], []
        self.is_reachable = True
        monkeypatch.setattr(watchdog.clock, "monotonic_seconds", lambda: self.now)
        monkeypatch.setattr(watchdog.os, "kill", self._kill)
        self.watchdog = Watchdog(self, None)

    def of(self, _role):
        return list(self.alive)

    def send(self, worker, message):
        assert message == {"do": "ping"}
        self.pinged.append(worker.pid)
        return self.is_reachable

    def _kill(self, pid, number):
        assert number is signal.SIGKILL
        self.killed.append(pid)

    def pass_seconds(self, seconds, *, step=0.5, answering=()):
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            self.watchdog.tick()
            for worker in answering:
                self.watchdog.heard(worker)


@pytest.fixture
def workers(monkeypatch):
    made = Workers(monkeypatch)
    made.watchdog.tick()
    return made


def test_one_that_says_nothing_is_ended_and_one_that_answers_is_not(workers, caplog):
    workers.pass_seconds(HUNG_SECONDS - 0.5, answering=workers.alive[:1])
    assert not workers.killed
    workers.pass_seconds(0.5, answering=workers.alive[:1])
    assert workers.killed == [2]
    assert "worker 2 has not answered for 10 s and is ended" in caplog.text


def test_each_is_asked_now_and_then_but_not_while_an_answer_is_due(workers):
    assert workers.pinged == [1, 2]
    workers.pass_seconds(2 * PING_SECONDS, answering=workers.alive[:1])
    assert workers.pinged == [1, 2, 1, 1]


def test_one_that_could_not_be_ended_is_asked_again(workers):
    workers.pass_seconds(2 * HUNG_SECONDS + PING_SECONDS)
    assert workers.killed == [1, 2, 1, 2]


def test_time_in_which_the_master_stood_still_does_not_count(workers):
    workers.pass_seconds(3600, step=3600)
    assert not workers.killed
    workers.pass_seconds(HUNG_SECONDS - MAX_STEP_SECONDS)
    assert workers.killed == [1, 2]


def test_one_that_ended_is_forgotten(workers):
    del workers.alive[1]
    workers.pass_seconds(HUNG_SECONDS, answering=workers.alive)
    assert not workers.killed


def test_one_that_cannot_be_asked_is_left_to_what_notices_its_end(workers):
    workers.is_reachable = False
    for worker in workers.alive:
        workers.watchdog.heard(worker)
    workers.pass_seconds(2 * HUNG_SECONDS)
    assert not workers.killed
