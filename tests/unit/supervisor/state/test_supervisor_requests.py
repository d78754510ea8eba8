"""What the master knows of its workers, and how long others wait to be told."""

from types import SimpleNamespace

import pytest

from gateway import clock
from gateway.supervisor.state.requests import ANSWER_SECONDS, PendingRequests
from gateway.supervisor.state.totals import Totals
from gateway.supervisor.state.worker_reports import WorkerReports

WORKERS = object()
ASKING = SimpleNamespace(pid=1)


class FakeChildren:
    """Notes what is sent; a pid in `deaf` can't be told anything."""

    def __init__(self, *pids):
        self.workers = [SimpleNamespace(pid=pid) for pid in pids]
        self.sent = []
        self.deaf = set()

    def of(self, role):
        assert role is WORKERS
        return list(self.workers)

    def send(self, child, message):
        if child.pid in self.deaf:
            return False
        self.sent.append((child.pid, message))
        return True


class World:
    def __init__(self, monkeypatch, *pids):
        self.now = 1000.0
        monkeypatch.setattr(clock, "monotonic_seconds", lambda: self.now)
        self.children = FakeChildren(*pids)
        self.worker_reports = WorkerReports(self.children)
        self.requests = PendingRequests(
            self.children, self.worker_reports, WORKERS, lambda asked: {"asked": asked}, self.lift
        )

    def lift(self, address, asked_by):
        for worker in self.children.workers:
            self.children.send(worker, {"do": "ban", "bans": {}})
        return {"address": address, "outcome": asked_by}

    def ask(self, number):
        self.requests.hear(ASKING, {"do": "state", "number": number})
        self.requests.answer()

    def report(self, worker, **status):
        self.worker_reports.hear(worker, {"is": "status", **status})
        self.requests.answer()

    def sent(self):
        sent, self.children.sent = self.children.sent, []
        return sent


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, 11, 12)


def answer(number, asked):
    return ASKING.pid, {"is": "state", "number": number, "state": {"asked": asked}}


ASK_BOTH = [(11, {"do": "status"}), (12, {"do": "status"})]


def test_the_answer_comes_as_soon_as_every_worker_has_reported(world):
    one, other = world.children.workers
    world.ask(7)
    assert world.sent() == ASK_BOTH
    world.report(one)
    assert world.sent() == []
    assert world.requests.due_seconds() == 1000.0 + ANSWER_SECONDS
    world.now += 0.01
    world.report(other)
    assert world.sent() == [answer(7, 1000.0)]
    assert world.requests.due_seconds() is None


def test_a_worker_that_hangs_holds_the_answer_up_for_so_long_and_no_longer(world):
    world.ask(7)
    world.report(world.children.workers[0])
    world.sent()
    world.now += ANSWER_SECONDS - 0.001
    world.requests.answer()
    assert world.sent() == []
    world.now += 0.001
    world.requests.answer()
    assert world.sent() == [answer(7, 1000.0)]


def test_a_worker_that_has_not_answered_is_not_asked_again(world):
    """However often somebody asks: nothing may pile up in the channel of a worker that hangs."""
    one, other = world.children.workers
    for number in range(100):
        world.ask(number)
        world.report(one)
    asked = [pid for pid, message in world.sent() if message == {"do": "status"}]
    assert (asked.count(11), asked.count(12)) == (100, 1)
    world.now += 5
    world.report(other)
    world.ask(100)
    assert (12, {"do": "status"}) in world.sent()


def test_without_any_worker_the_answer_comes_at_once(monkeypatch):
    world = World(monkeypatch)
    world.ask(1)
    assert world.sent() == [answer(1, 1000.0)]


def test_a_worker_that_cannot_be_told_is_one_that_does_not_answer(world):
    world.children.deaf.add(12)
    world.ask(1)
    assert world.sent() == [(11, {"do": "status"})]
    assert world.worker_reports.of(world.children.workers[1]).asked_seconds is None


def test_a_lockout_is_lifted_before_workers_are_asked_and_told_of_when_they_have_answered(world):
    lift = {"do": "lift", "number": 7, "address": "192.0.2.1", "asked_by": "lifted"}
    world.requests.hear(ASKING, lift)
    world.requests.answer()
    assert world.sent() == [(11, {"do": "ban", "bans": {}}), (12, {"do": "ban", "bans": {}}), *ASK_BOTH]
    for worker in world.children.workers:
        world.report(worker)
    answer = {"address": "192.0.2.1", "outcome": "lifted"}
    assert world.sent() == [(ASKING.pid, {"is": "lift", "number": 7, "answer": answer})]


def test_a_worker_that_hangs_holds_that_up_no_longer(world):
    world.requests.hear(ASKING, {"do": "lift", "number": 7, "address": "192.0.2.1", "asked_by": "off"})
    world.sent()
    world.now += ANSWER_SECONDS
    world.requests.answer()
    assert world.sent() == [(1, {"is": "lift", "number": 7, "answer": {"address": "192.0.2.1", "outcome": "off"}})]


def test_what_else_another_process_says_means_nothing(world):
    for message in (
        {"do": "lift", "number": 1, "address": "192.0.2.1"},
        {"do": "lift", "number": 1, "address": 1, "asked_by": "me"},
        {"do": "stop"},
        {"do": "state"},
        {"do": "state", "number": "1"},
        {},
    ):
        world.requests.hear(ASKING, message)
        world.requests.answer()
    assert world.sent() == []


def test_why_a_worker_kept_its_configuration_is_remembered_until_it_did_not(world):
    worker = world.children.workers[0]
    world.worker_reports.hear(worker, {"is": "reloaded", "error": "no such file"})
    assert world.worker_reports.of(worker).reload_error == "no such file"
    world.worker_reports.hear(worker, {"is": "reloaded", "error": None})
    assert world.worker_reports.of(worker).reload_error is None
    world.worker_reports.hear(worker, {"is": "something else"})
    assert world.worker_reports.of(worker).heard_seconds is None


REPORT = {
    "counters": {
        "answers": [[200, None, 3], [403, "denied_by_rule", 1]],
        "observed": [],
        "bytes": {"in": 10, "out": 20},
        "handshakes": {"full": 2, "resumed": 1, "failed": 0},
    },
    "dropped_log_lines": 4,
}


def test_what_an_ended_worker_had_counted_stays_in_the_totals(world):
    """Else a worker's end would look to Prometheus like all the others' traffic come anew."""
    one, other = world.children.workers
    world.worker_reports.hear(one, {"is": "status", **REPORT})
    world.worker_reports.forget([one, other, SimpleNamespace(pid=99)])
    totals = Totals()
    totals.add_totals(world.worker_reports.ended)
    totals.add(REPORT)
    totals.add({})
    assert totals.answers == {(200, None): 6, (403, "denied_by_rule"): 2}
    assert totals.bytes == {"in": 20, "out": 40}
    assert totals.handshakes == {"full": 4, "resumed": 2, "failed": 0}
    assert totals.dropped_log_lines == 8
    assert world.worker_reports.of(one).heard_seconds is None
