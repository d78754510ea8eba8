"""A log that grows: each line comes once, whole, whatever happens to the file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import pytest
from support.log_lines import line_of

from gateway.logs import follow
from gateway.logs.follow import LAST_LINES, begin_near_end
from gateway.logs.reader import Reader

ENOUGH_LOOKS = 200


class Watch:
    """Follows `path`, and does one of these steps each time before it looks again."""

    def __init__(self, path, *steps: Callable[[], object]):
        self.reader = Reader(lambda _: True)
        self._steps = list(steps)
        self.found: list[bytes] = []
        self._looks = 0
        with contextlib.closing(follow.follow(path, io.FileIO(path, "rb"), self.reader, self._wait)) as hits:
            for hit in hits:
                if hit is not None:
                    self.found.append(hit.line + b"\n")
                elif not self._steps and self._looks > ENOUGH_LOOKS:
                    break

    def _wait(self):
        self._looks += 1
        if self._steps:
            self._steps.pop(0)()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "access.jsonl"
    path.write_bytes(line_of(0))
    return path


def append(path, data: bytes):
    def step():
        with path.open("ab") as file:
            file.write(data)

    return step


def test_lines_come_as_they_are_written_and_halves_only_when_they_are_whole(path):
    line = line_of(1)
    steps = append(path, line[:100]), append(path, line[100:200]), append(path, line[200:] + line_of(2))
    watch = Watch(path, *steps)
    assert watch.found == [line_of(0), line_of(1), line_of(2)]
    assert watch.reader.skipped.unreadable == 0


def test_a_rename_and_a_new_file(path):
    old = path.with_name("access.jsonl.1")
    watch = Watch(
        path,
        lambda: path.rename(old),
        append(old, line_of(1)),
        append(path, line_of(2)),
        append(old, line_of(3)),  # by a worker that was not told yet
        append(path, line_of(4)),
    )
    assert watch.found == [line_of(second) for second in (0, 1, 2, 3, 4)]


def test_two_rotations_one_after_the_other(path):
    first, second = path.with_name("access.jsonl.2"), path.with_name("access.jsonl.1")

    def rotate():
        path.rename(first)
        append(path, line_of(1))()

    def rotate_again():
        path.rename(second)
        append(path, line_of(2))()
        append(first, line_of(3))()

    watch = Watch(path, rotate, rotate_again)
    assert sorted(watch.found) == [line_of(second) for second in range(4)]


def test_the_old_file_is_let_go_of_with_its_torn_line(path):
    old = path.with_name("access.jsonl.1")
    steps = append(path, line_of(1)[:50]), lambda: path.rename(old), append(path, line_of(2))
    watch = Watch(path, *steps)
    assert watch.found == [line_of(0), line_of(2)]
    assert watch.reader.skipped.unreadable == 1


def test_a_file_that_is_cut_to_nothing_is_read_from_its_beginning(path):
    watch = Watch(path, append(path, b'{"half'), lambda: path.write_bytes(b""), append(path, line_of(1)))
    assert watch.found == [line_of(0), line_of(1)]


def test_a_file_that_is_missing_for_a_while(path):
    watch = Watch(path, path.unlink, lambda: None, append(path, line_of(1)))
    assert watch.found == [line_of(0), line_of(1)]


@pytest.mark.parametrize("count", [0, 1, LAST_LINES, LAST_LINES + 1, 50, 400])
def test_at_first_the_last_lines_are_shown(tmp_path, count):
    path = tmp_path / "log"
    lines = [line_of(second) for second in range(count)]
    path.write_bytes(b"".join(lines))
    reader = Reader(lambda _: True)
    with io.FileIO(path, "rb") as file:
        is_inside = begin_near_end(file)
        found = [hit.line + b"\n" for hit in reader.read(file, begins_inside_line=is_inside)]
    assert found == lines[-LAST_LINES:]


def test_a_line_longer_than_is_looked_at_is_no_beginning(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100_000 + b"\n" + line_of(1))
    reader = Reader(lambda _: True)
    with io.FileIO(path, "rb") as file:
        is_inside = begin_near_end(file)
        found = [hit.line + b"\n" for hit in reader.read(file, begins_inside_line=is_inside)]
    assert (is_inside, found) == (True, [line_of(1)])
