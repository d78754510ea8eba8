"""Processes that hang are ended, and no others."""

import signal
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from gateway.supervisor.processes import watchdog
from gateway.supervisor.processes.watchdog import (
    HUNG_HELPER_SECONDS,
    HUNG_SECONDS,
    MAX_STEP_SECONDS,
    PING_SECONDS,
    SILENT_SECONDS,
    Watchdog,
)


class Kind(NamedTuple):
    name: str


WORKERS, FETCHER = Kind("worker"), Kind("the fetcher")


@dataclass(frozen=True, eq=False)
class Worker:
    pid: int
    role: object = WORKERS


class Workers:
    """The workers, their channels and the clock."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.alive = [Worker(1), Worker(2)]
        self.pinged, self.killed = [], []
        self.is_reachable = True
        monkeypatch.setattr(watchdog.clock, "monotonic_seconds", lambda: self.now)
        monkeypatch.setattr(watchdog.os, "kill", self._kill)
        self.watchdog = Watchdog(self, WORKERS)

    def __iter__(self):
        return iter(tuple(self.alive))

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
    assert "worker 2 has not answered for 10 s and is replaced" in caplog.text


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


def test_a_process_beside_the_workers_has_longer(workers, caplog):
    workers.alive[1] = fetcher = Worker(3, FETCHER)
    workers.watchdog.heard(fetcher)
    workers.pass_seconds(PING_SECONDS, answering=workers.alive[:1])
    assert workers.pinged[-1] == 3
    workers.pass_seconds(HUNG_HELPER_SECONDS - 0.5, answering=workers.alive[:1])
    assert not workers.killed
    assert workers.watchdog.is_silent(fetcher)
    workers.pass_seconds(0.5, answering=workers.alive[:1])
    assert workers.killed == [3]
    assert "the fetcher 3 has not answered for 20 s and is replaced" in caplog.text


def test_one_that_starts_is_not_told_as_silent(workers):
    workers.pass_seconds(SILENT_SECONDS + 0.5)
    assert not any(map(workers.watchdog.is_silent, workers.alive))


def test_one_is_told_as_silent_until_it_answers(workers):
    worker = workers.alive[0]
    workers.watchdog.heard(worker)
    workers.pass_seconds(PING_SECONDS)  # it is asked again
    workers.pass_seconds(SILENT_SECONDS - 0.5)
    assert not workers.watchdog.is_silent(worker)
    workers.pass_seconds(0.5)
    assert workers.watchdog.is_silent(worker)
    workers.watchdog.heard(worker)
    assert not workers.watchdog.is_silent(worker)
