"""The master's side of the rotation: when it looks, who opens the new file, and when the old one is packed."""

from __future__ import annotations

import logging

import pytest
from support.log_lines import BEGIN, line_of

from gateway import clock
from gateway.config.model import Rotation as Settings
from gateway.errors import OperationError
from gateway.supervisor import log_rotation
from gateway.supervisor.log_rotation import (
    FIRST_AGAIN_SECONDS,
    LOOK_SECONDS,
    MAX_AGAIN_SECONDS,
    PACK_AFTER_SECONDS,
    REOPEN_AGAIN_SECONDS,
    REPORT_AGAIN_SECONDS,
    LogRotation,
)
from gateway.supervisor.processes.channel import Channel

SETTINGS = Settings(size_bytes=10_000, age_seconds=3600.0, keep=7, compress="gzip")
FULL = line_of() * 20


class World:
    """A log, a clock, writers, and processes that pack, as the master sees them."""

    def __init__(self, folder, monkeypatch):
        self.path = folder / "access.jsonl"
        self.seconds = 1000.0
        self.reopened = 0
        self.is_current = self.can_open = True
        self.started = []  # the packing process's end of each channel
        self.error = None
        monkeypatch.setattr(clock, "monotonic_seconds", lambda: self.seconds)
        monkeypatch.setattr(clock, "unix_seconds", lambda: BEGIN.timestamp() + self.seconds)
        monkeypatch.setattr(log_rotation, "fork", self.fork)
        self.let_go = []
        self.rotation = LogRotation(
            self.path, SETTINGS, self.reopen, lambda: self.is_current, lambda: self.let_go.append(1)
        )

    def fork(self, _name, leave, main):
        if self.error is not None:
            raise self.error
        ours, theirs = Channel.pair()
        self.started.append(theirs)
        self.leave, self.main = leave, main
        return 1, ours

    def reopen(self):
        self.reopened += 1
        self.is_current = self.can_open

    def ticks(self, seconds=LOOK_SECONDS):
        self.seconds += seconds
        self.rotation.tick()

    def packed(self, busy=0, problems=()):
        self.started[-1].send({"is": "packed", "busy": busy, "problems": list(problems)})
        self.started[-1].close()
        self.ticks(0)

    def rotated(self):
        return sorted(each.name for each in self.path.parent.iterdir() if each != self.path)


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path, monkeypatch)
    yield made
    made.rotation.end()
    for channel in made.started:
        channel.close()


@pytest.fixture
def idle(world):
    """What an earlier run left behind was packed."""
    world.ticks()
    world.packed()
    return world


def test_it_begins_with_what_an_earlier_run_left_behind(world):
    world.ticks()
    assert len(world.started) == 1
    world.packed()
    world.ticks(10 * MAX_AGAIN_SECONDS)
    assert len(world.started) == 1


def test_a_full_file_is_rotated_and_packed_a_little_later(idle, caplog):
    caplog.set_level(logging.INFO)
    idle.path.write_bytes(FULL)
    idle.ticks(LOOK_SECONDS / 2)
    assert idle.rotated() == []
    idle.ticks()
    (name,) = idle.rotated()
    assert name.startswith("access-20261124T0716")
    assert f"rotated to {name} ({len(FULL)} bytes)" in caplog.text
    assert (idle.reopened, len(idle.started)) == (1, 1)
    idle.ticks()
    assert len(idle.started) == 1
    idle.ticks(PACK_AFTER_SECONDS)
    assert len(idle.started) == 2
    idle.ticks()
    assert (idle.reopened, len(idle.started)) == (1, 2)


def test_files_that_are_rotated_during_packing_are_packed_next(idle):
    for _ in range(3):
        idle.path.write_bytes(FULL)
        idle.ticks(PACK_AFTER_SECONDS)
    assert (len(idle.rotated()), len(idle.started)) == (3, 2)
    idle.packed()
    idle.ticks(PACK_AFTER_SECONDS)
    assert len(idle.started) == 3


def test_while_a_process_has_the_old_file_open_all_are_told_again(idle):
    idle.path.write_bytes(FULL)
    idle.ticks()
    idle.ticks(PACK_AFTER_SECONDS)
    idle.packed(busy=1)
    assert idle.reopened == 2
    idle.ticks(FIRST_AGAIN_SECONDS - 1)
    assert len(idle.started) == 2
    idle.ticks()
    assert len(idle.started) == 3
    idle.packed()
    idle.ticks(2 * MAX_AGAIN_SECONDS)
    assert (idle.reopened, len(idle.started)) == (2, 3)


def test_a_file_that_stays_open_is_tried_less_and_less_often(world):
    world.ticks()
    waited = []
    for _ in range(6):
        world.packed(busy=1)
        begun = len(world.started)
        waited.append(0.0)
        while len(world.started) == begun:
            world.ticks()
            waited[-1] += LOOK_SECONDS
    assert waited == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    world.packed()
    world.path.write_bytes(FULL)
    world.ticks()
    world.ticks(PACK_AFTER_SECONDS)
    begun = len(world.started)
    world.packed(busy=1)
    world.ticks(FIRST_AGAIN_SECONDS)
    assert len(world.started) == begun + 1


def test_a_failure_is_told_with_its_remedy_now_and_then_and_tried_again(world, caplog):
    world.ticks()
    for round_ in range(1, int(REPORT_AGAIN_SECONDS / MAX_AGAIN_SECONDS) + 1):
        world.packed(problems=[("it is full", "free disk space")])
        world.ticks(MAX_AGAIN_SECONDS)
        assert len(world.started) == round_ + 1
    assert caplog.text.count("it is full; free disk space") == 1
    world.packed(problems=[("it is full", "free disk space")])
    assert caplog.text.count("it is full; free disk space") == 2


def test_a_process_that_ends_early_is_started_again(world, caplog):
    world.ticks()
    world.started[0].close()
    world.ticks()
    assert "ended before it had finished" in caplog.text
    world.ticks(FIRST_AGAIN_SECONDS)
    assert len(world.started) == 2


def test_a_process_that_cannot_be_started_is_tried_again(world, caplog):
    world.error = OperationError("no process is left", "raise the limit")
    world.ticks()
    assert "no process is left; raise the limit" in caplog.text
    world.error = None
    world.ticks(FIRST_AGAIN_SECONDS)
    assert len(world.started) == 1


def test_a_log_that_another_program_renamed_is_opened_again(idle):
    for count in (1, 2, 3):
        idle.is_current = False
        idle.ticks()
        assert idle.reopened == count


def test_a_log_that_cannot_be_opened_again_is_tried_again_later(idle):
    idle.is_current, idle.can_open = False, False
    for _ in range(3):
        idle.ticks()
        assert idle.reopened == 1
    idle.ticks(REOPEN_AGAIN_SECONDS)
    assert idle.reopened == 2


def test_a_log_that_cannot_be_rotated_is_told_and_written_to(idle, caplog):
    idle.path.symlink_to("elsewhere")
    for _ in range(5):
        idle.ticks()
    assert caplog.text.count("not a regular file; name the file itself") == 1
    assert idle.reopened == 0


def test_the_end_stops_packing_and_so_does_a_new_child(world):
    world.ticks()
    world.leave()
    assert world.let_go == [1]
    world.ticks()
    assert world.started[0].fileno() >= 0
    with pytest.raises(Exception, match="closed"):
        world.started[0].receive()


def test_the_process_gets_the_settings(world, monkeypatch):
    told = []
    monkeypatch.setattr(log_rotation, "become", lambda *arguments: told.append(arguments))
    world.ticks()
    channel = object()
    world.main(channel)
    assert told == [("gateway.supervisor.helpers.packer_process", (channel,), str(world.path), "gzip", "7")]


def test_the_times_are_in_order():
    assert LOOK_SECONDS < PACK_AFTER_SECONDS < FIRST_AGAIN_SECONDS < MAX_AGAIN_SECONDS < REPORT_AGAIN_SECONDS
