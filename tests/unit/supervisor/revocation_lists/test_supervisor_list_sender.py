"""Lists on their way to workers: piece by piece, again where it failed, and not for ever."""

import signal
from base64 import b64encode
from dataclasses import dataclass

import pytest

from gateway.errors import OperationError
from gateway.supervisor.revocation_lists import sender
from gateway.supervisor.revocation_lists.current import ListEntry, ListPart, ListSet
from gateway.supervisor.revocation_lists.receiver import ListReceiver
from gateway.supervisor.revocation_lists.sender import (
    FIRST_RETRY_SECONDS,
    MAX_BEHIND_SECONDS,
    MAX_RETRY_SECONDS,
    MAX_STEP_SECONDS,
    PIECE_BYTES,
    ListSender,
)

BIG = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"end"


def lists(generation, **sources):
    """Sources with their bytes, each of the generation that is given with it."""
    entries = {
        source: ListEntry(tuple(ListPart(data, ()) for data in parts), generation=since)
        for source, (since, *parts) in sources.items()
    }
    return ListSet(generation, entries)


@dataclass(frozen=True, eq=False)
class Worker:
    pid: int


class Workers:
    """The workers, their channels and the clock."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.alive = [Worker(1), Worker(2)]
        self.sent = {worker: [] for worker in self.alive}
        self.killed = []
        self.lists = lists(0)
        monkeypatch.setattr(sender.clock, "monotonic_seconds", lambda: self.now)
        monkeypatch.setattr(sender.os, "kill", self._kill)
        self.sending = ListSender(self, None, lambda: self.lists)
        for worker in self.alive:
            self.sending.started(worker)

    def of(self, _role):
        return list(self.alive)

    def send(self, worker, message):
        self.sent[worker].append(message)
        return True

    def _kill(self, pid, number):
        assert number is signal.SIGKILL
        self.killed.append(pid)

    def pass_seconds(self, seconds, step=0.5):
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            self.sending.tick()

    def answer(self, worker, error=None):
        """The worker hears what was sent last, and answers it."""
        message = self.sent[worker][-1]
        answer = {"is": message["do"], "delivery": message["delivery"]}
        if message["do"] == "lists":
            answer["error"] = error
        self.sending.hear(worker, answer)
        return message

    def receive(self, worker):
        """The worker takes a whole delivery up; what it was."""
        receiver = ListReceiver()
        while (message := self.sent[worker][-1])["do"] == "list":
            place = message["source"], message["part"]
            receiver.add(message["delivery"], message["piece"], place, message["data"])
            self.answer(worker)
        data = receiver.finish(message["delivery"], message["pieces"], message["parts"])
        self.answer(worker)
        return data


@pytest.fixture
def workers(monkeypatch):
    return Workers(monkeypatch)


def test_nothing_is_sent_to_a_worker_that_has_all(workers):
    workers.pass_seconds(10)
    assert all(sent == [] for sent in workers.sent.values())
    assert workers.sending.behind == 0


def test_a_list_comes_in_pieces_one_at_a_time(workers):
    one, other = workers.alive
    workers.lists = lists(1, a=(1, BIG, b"later"), b=(0, b"old"))
    workers.sending.tick()
    workers.pass_seconds(5)
    assert [len(sent) for sent in workers.sent.values()] == [1, 1]
    assert len(workers.sent[one][0]["data"]) == len(b64encode(bytes(PIECE_BYTES)))
    assert workers.sending.behind == 2
    assert workers.receive(one) == {"a": (BIG, b"later")}
    assert (workers.sending.of(one).generation, workers.sending.of(other).generation) == (1, 0)
    assert workers.sending.behind == 1
    assert workers.receive(other) == {"a": (BIG, b"later")}
    assert workers.sending.behind == 0
    assert [len(sent) for sent in workers.sent.values()] == [5, 5]


def test_what_changes_on_the_way_comes_next_and_nothing_else(workers):
    worker = workers.alive[0]
    workers.lists = lists(1, a=(1, BIG))
    workers.sending.tick()
    workers.lists = lists(2, a=(1, BIG), b=(2, b"new"), c=(2,))
    assert workers.receive(worker) == {"a": (BIG,)}
    assert workers.receive(worker) == {"b": (b"new",), "c": ()}
    assert workers.sending.of(worker).generation == 2


def test_a_worker_that_fails_is_told_again_ever_later(workers):
    worker = workers.alive[0]
    workers.lists = lists(1, a=(1,))
    workers.sending.tick()
    wait_seconds = FIRST_RETRY_SECONDS
    for number in range(1, 4):
        assert workers.answer(worker, "out of memory")["delivery"] == number
        assert workers.sending.of(worker).error == "out of memory"
        workers.pass_seconds(wait_seconds - 0.5)
        assert len(workers.sent[worker]) == number
        workers.pass_seconds(0.5)
        assert len(workers.sent[worker]) == number + 1
        wait_seconds = min(MAX_RETRY_SECONDS, 2 * wait_seconds)
    assert workers.receive(worker) == {"a": ()}
    assert (workers.sending.of(worker).error, workers.sending.behind) == (None, 1)


def test_a_worker_that_stays_behind_is_ended(workers, caplog):
    worker = workers.alive[0]
    workers.lists = lists(1, a=(1,))
    workers.sending.tick()
    workers.answer(worker, "out of memory")
    workers.pass_seconds(MAX_BEHIND_SECONDS - 0.5)
    assert not workers.killed
    assert workers.sending.of(worker).behind_seconds == MAX_BEHIND_SECONDS - 0.5
    workers.pass_seconds(0.5)
    assert workers.killed == [1, 2]
    told = "has not taken up the revocation lists for 60 s and is replaced"
    assert f"worker 1 {told} (out of memory)" in caplog.text
    assert f"worker 2 {told} (it has not said why)" in caplog.text


def test_time_in_which_the_master_stood_still_does_not_count(workers):
    workers.lists = lists(1, a=(1,))
    workers.pass_seconds(3600, step=3600)
    assert not workers.killed
    assert workers.sending.of(workers.alive[0]).behind_seconds == MAX_STEP_SECONDS


def test_a_successor_has_all(workers):
    workers.lists = lists(1, a=(1,))
    workers.sending.tick()
    successor = Worker(3)
    workers.alive[0] = successor
    workers.sent[successor] = []
    workers.sending.started(successor)
    workers.sending.tick()
    assert (workers.sending.behind, workers.sent[successor]) == (1, [])
    assert workers.sending.of(Worker(4)).generation == 0  # of another nothing is known


def test_what_is_said_of_another_delivery_or_makes_no_sense_moves_nothing(workers):
    worker = workers.alive[0]
    for message in ({"is": "lists", "delivery": 0, "error": None}, {"is": "list"}):
        workers.sending.hear(worker, message)
    workers.lists = lists(1, a=(1, BIG))
    workers.sending.tick()
    for message in ({"is": "lists", "delivery": 7, "error": None}, {"is": "list", "delivery": 0}, {"delivery": 1}):
        workers.sending.hear(worker, message)
    assert (len(workers.sent[worker]), workers.sending.of(worker).generation) == (1, 0)
    assert workers.receive(worker) == {"a": (BIG,)}
    workers.sending.hear(worker, {"is": "list", "delivery": 1})
    assert workers.sent[worker][-1]["do"] == "lists"


# the other end


def test_a_delivery_with_a_piece_missing_is_not_taken():
    receiver = ListReceiver()
    for piece in (0, 1):
        receiver.add(1, piece, ("a", 0), "AAAA")
    for delivery, piece in ((1, 3), (2, 2), (1, 1)):
        with pytest.raises(OperationError, match="a piece of a revocation list is missing"):
            receiver.add(delivery, piece, ("a", 0), "AAAA")
        with pytest.raises(OperationError):
            receiver.finish(delivery, piece, {"a": 1})
    receiver.add(2, 0, ("a", 0), "AAAA")  # another delivery begins
    assert receiver.finish(2, 1, {"a": 1}) == {"a": (bytes(3),)}
    assert receiver.finish(3, 0, {"b": 0}) == {"b": ()}
