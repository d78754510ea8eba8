"""What is written of messages that repeat."""

import asyncio
import io
import logging
import os
import sys
from types import SimpleNamespace

import pytest

from gateway.logs.error_log import (
    MAX_KINDS,
    WINDOW_SECONDS,
    WRITTEN_AT_ONCE,
    FoldingHandler,
    begin_error_log,
    end_error_log,
)

WARNING = "request %s: the upstream does not answer"
FIRST = [WARNING % f"{number:032x}" for number in range(WRITTEN_AT_ONCE)]


class Log:
    """A logger on a handler of its own, and a clock that is set."""

    def __init__(self):
        self.seconds = 100.0
        self._stream = io.StringIO()
        self.handler = FoldingHandler(self._stream, now=lambda: self.seconds)
        self.logger = logging.RootLogger(logging.INFO)
        self.logger.addHandler(self.handler)

    def lines(self):
        """Those since the last time."""
        found = self._stream.getvalue().splitlines()
        self._stream.seek(0)
        self._stream.truncate()
        return found

    def floods(self, count, text=WARNING):
        for number in range(count):
            self.logger.warning(text, f"{number:032x}")


@pytest.fixture
def log():
    return Log()


def test_the_first_ones_are_written_at_once_and_the_others_are_counted(log):
    log.floods(1000)
    assert log.lines() == FIRST
    log.seconds += WINDOW_SECONDS
    log.logger.info("something else")
    last = WARNING % f"{999:032x}"
    assert log.lines() == [
        f"{1000 - WRITTEN_AT_ONCE} more like this in 5 s, the last of them: {last}",
        "something else",
    ]


def test_a_flood_that_goes_on_is_told_window_by_window(log):
    log.floods(10)
    log.lines()
    for _ in range(3):
        log.seconds += WINDOW_SECONDS
        log.floods(10)
        first, *others = log.lines()
        assert first.startswith(f"{10 - WRITTEN_AT_ONCE} more like this in 5 s")
        assert others == FIRST


def test_nothing_is_folded_that_says_something_else(log):
    texts = [f"server 10.0.0.{number} is down" for number in range(10)]
    for text in texts:
        log.logger.warning(text)
        log.logger.error(text)
    assert log.lines() == [text for text in texts for _ in range(2)]


def test_information_is_never_folded(log):
    for _ in range(3):
        log.logger.info("reloaded")
    assert log.lines() == ["reloaded"] * 3


def test_one_repeat_is_written_as_it_is(log):
    log.floods(WRITTEN_AT_ONCE + 1)
    log.handler.tell_all()
    assert log.lines() == [*FIRST, WARNING % f"{WRITTEN_AT_ONCE:032x}"]
    log.handler.tell_all()
    assert not log.lines()


def test_a_message_that_comes_after_its_window_is_a_first_one_again(log):
    log.floods(1)
    log.seconds += WINDOW_SECONDS
    log.floods(1)
    assert log.lines() == [WARNING % f"{0:032x}"] * 2


@pytest.mark.parametrize("count", [MAX_KINDS, MAX_KINDS + 1])
def test_so_many_kinds_are_counted_and_what_is_beyond_is_written(log, count):
    for _ in range(WRITTEN_AT_ONCE + 5):
        for number in range(count):
            log.logger.warning("kind %d", number)
    assert len(log.lines()) == WRITTEN_AT_ONCE * count + 5 * (count - MAX_KINDS)


def test_exceptions_are_told_apart_and_only_written_ones_have_their_traceback(log):
    for cause in ("a", "b", *"a" * (WRITTEN_AT_ONCE + 1)):
        log.logger.error("it failed", exc_info=ValueError(cause))
    log.handler.tell_all()
    lines = log.lines()
    assert sum(line.startswith("ValueError: ") for line in lines) == 1 + WRITTEN_AT_ONCE
    assert lines[-1] == "2 more like this in 0 s, the last of them: it failed"


def test_a_message_that_does_not_fit_its_arguments_is_no_failure(log, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.logger.warning("%d", "no number")
    log.logger.warning("fine")
    assert log.lines() == ["fine"]


def test_where_a_loop_runs_the_count_is_told_when_the_window_ends(log, monkeypatch):
    timers = []
    loop = SimpleNamespace(call_later=lambda *timer: timers.append(timer) or timer)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    log.floods(WRITTEN_AT_ONCE + 2)
    log.lines()
    log.seconds += 1
    log.floods(WRITTEN_AT_ONCE + 2, "also %s")
    log.lines()
    ((seconds, on_timer),) = timers
    assert seconds == WINDOW_SECONDS
    for expected in (1, 1, 0):
        log.seconds += WINDOW_SECONDS - 1
        on_timer()
        assert [line[:20] for line in log.lines()] == ["2 more like this in "] * expected
    assert len(timers) == 2, "nothing is left to wait for"


def test_the_end_of_the_handler_tells_what_was_counted(log):
    log.floods(WRITTEN_AT_ONCE + 2)
    log.lines()
    log.handler.close()
    assert log.lines()[0].startswith("2 more like this")


def test_a_child_tells_nothing_of_what_its_parent_counted(log):
    log.floods(WRITTEN_AT_ONCE + 2)
    log.lines()
    log.handler.begin_anew()
    log.handler.tell_all()
    assert not log.lines()
    log.floods(1)
    assert len(log.lines()) == 1


def test_the_processes_begin_and_end_with_it(monkeypatch):
    root, hooks, stream = logging.RootLogger(logging.WARNING), [], io.StringIO()
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr(logging, "getLogger", lambda: root)
    monkeypatch.setattr(os, "register_at_fork", lambda **more: hooks.append(more))
    monkeypatch.setattr(sys, "stderr", stream)
    begin_error_log()
    for _ in range(WRITTEN_AT_ONCE + 4):
        root.warning("again")
    root.addHandler(logging.NullHandler())
    end_error_log()
    lines = stream.getvalue().splitlines()
    assert len(lines) == WRITTEN_AT_ONCE + 1
    assert lines[0].endswith(" WARNING root: again")
    assert "4 more like this in" in lines[-1]
    assert list(hooks[0]) == ["after_in_child"]
