"""When the log is rotated, what it is renamed to, and what happens if it can't be."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest
from support.log_lines import BEGIN, combined_of, line_of

from gateway.errors import OperationError
from gateway.logs.rotation import Rotation

SIZE = 10_000
HOUR = 3600.0
START = BEGIN.timestamp()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "access.jsonl"


@pytest.fixture
def write(path):
    def write(data):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    return write


@pytest.fixture
def rotation(path):
    return Rotation(path, SIZE, HOUR)


def is_due(rotation, now):
    return rotation.due(now) is not None


@pytest.mark.parametrize(("size", "due"), [(SIZE - 1, False), (SIZE, True)])
def test_a_file_is_rotated_when_it_has_its_size(rotation, write, size, due):
    write(line_of().ljust(size, b"x"))
    assert is_due(rotation, START + 1) is due


@pytest.mark.parametrize(("age", "due"), [(HOUR - 1, False), (HOUR + 1, True)])
def test_a_file_is_rotated_when_its_first_line_has_its_age(path, write, age, due):
    """A gateway that starts again finds the same age."""
    write(b"torn}\n" + line_of(0) + line_of(HOUR / 2))
    assert is_due(Rotation(path, SIZE, HOUR), START + age) is due


def test_the_age_counts_from_the_end_of_a_long_request(rotation, write):
    write(line_of(0, duration_ms=HOUR * 1000))
    assert not is_due(rotation, START + HOUR + 1)
    assert is_due(rotation, START + 2 * HOUR)


def test_a_long_request_in_the_combined_format_makes_a_new_file_no_older(rotation, write):
    write(b"")
    assert not is_due(rotation, START + HOUR)
    write(combined_of(0))
    assert not is_due(rotation, START + HOUR + 1)
    assert is_due(rotation, START + 2 * HOUR)


@pytest.mark.parametrize("first", [line_of(10 * HOUR), b"no line of an access log\n", b"torn"])
def test_a_file_that_does_not_say_when_it_began_is_as_old_as_it_is_known(rotation, write, first):
    write(first)
    assert not is_due(rotation, START)
    assert not is_due(rotation, START + HOUR - 1)
    assert is_due(rotation, START + HOUR)


def test_an_empty_file_is_never_rotated_and_neither_is_none(rotation, write):
    assert not is_due(rotation, START)
    write(b"")
    assert not is_due(rotation, START)
    assert not is_due(rotation, START + 100 * HOUR)


def test_another_file_has_another_age(rotation, write, path):
    write(line_of(0))
    assert is_due(rotation, START + HOUR + 1)
    path.rename(path.with_name("old"))
    write(line_of(HOUR))
    assert not is_due(rotation, START + HOUR + 1)


def test_the_file_gets_a_name_and_a_new_one_is_there_with_its_mode(rotation, write, path):
    write(b"line\n" * SIZE)
    path.chmod(0o604)
    target = rotation.rotate(rotation.due(START), START)
    assert target == path.with_name("access-20261124T070000Z.jsonl")
    assert target.read_bytes() == b"line\n" * SIZE
    assert path.read_bytes() == b""
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give any group")
def test_the_new_file_has_the_group_of_the_old_one(rotation, write, path):
    write(b"line\n" * SIZE)
    os.chown(path, -1, 4711)
    rotation.rotate(rotation.due(START), START)
    assert path.stat().st_gid == 4711


def test_a_group_that_cannot_be_given_closes_the_file_to_groups(rotation, write, path, monkeypatch, caplog):
    write(b"line\n" * SIZE)
    path.chmod(0o640)
    state = rotation.due(START)

    def refused(*_arguments):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    other = os.stat_result((*state[:5], 4711, *state[6:10]))
    monkeypatch.setattr(os.path, "samestat", lambda *_: True)
    assert rotation.rotate(other, START) is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"chgrp 4711 {path.parent} && chmod g+s {path.parent}" in caplog.text


def test_a_file_that_another_gateway_has_rotated_stays(rotation, write, path):
    write(b"line\n" * SIZE)
    state = rotation.due(START)
    assert Rotation(path, SIZE, HOUR).rotate(state, START) is not None
    assert rotation.rotate(state, START) is None
    path.unlink()
    assert rotation.rotate(state, START) is None
    assert len(list(path.parent.iterdir())) == 1


def test_a_file_that_another_gateway_is_rotating_stays(rotation, write, path):
    write(b"line\n" * SIZE)
    folder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert rotation.rotate(rotation.due(START), START) is None
    os.close(folder)
    assert rotation.rotate(rotation.due(START), START) is not None


def test_a_filesystem_without_locks_for_folders_is_no_hindrance(rotation, write, monkeypatch):
    write(b"line\n" * SIZE)

    def refused(*_arguments):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refused)
    assert rotation.rotate(rotation.due(START), START) is not None


def test_no_file_is_overwritten_within_a_second(rotation, write, path):
    for _ in range(3):
        write(b"line\n" * SIZE)
        rotation.rotate(rotation.due(START), START)
    assert len([each for each in path.parent.iterdir() if each.read_bytes() == b"line\n" * SIZE]) == 3


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_a_regular_file_is_rotated(rotation, path, kind):
    path.parent.mkdir()
    if kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OperationError, match="not a regular file") as raised:
        rotation.due(START)
    assert "access_log.path" in raised.value.remedy


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free disk space"),
        (errno.EDQUOT, "free disk space"),
        (errno.EACCES, "write to it: chgrp "),
        (errno.EROFS, "write to it: chgrp "),
        (errno.EIO, "name a file on a local disk"),
    ],
)
@pytest.mark.parametrize("call", ["open", "rename"])
def test_what_cannot_be_renamed_stays_and_the_remedy_is_told(write, path, monkeypatch, call, number, remedy):
    rotation = Rotation(path, SIZE, HOUR)
    write(b"line\n" * SIZE)
    state = rotation.due(START)

    def refused(*_arguments):
        raise OSError(number, os.strerror(number))

    if call == "open":
        monkeypatch.setattr(os, "open", refused)
    else:
        monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OperationError, match=os.strerror(number)) as raised:
        rotation.rotate(state, START)
    monkeypatch.undo()
    assert "lines are still appended" in raised.value.cause
    assert remedy in raised.value.remedy
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("is_there", [False, True], ids=["put back", "already there"])
def test_a_file_without_a_successor_gets_its_name_back(rotation, write, path, monkeypatch, is_there):
    write(b"line\n" * SIZE)
    state, real = rotation.due(START), os.open

    def full(name, flags, *mode):
        if flags & os.O_CREAT:
            if is_there:
                path.write_bytes(b"of a worker that has just started\n")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(name, flags, *mode)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OperationError, match="No space left"):
        rotation.rotate(state, START)
    monkeypatch.undo()
    found = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    if is_there:
        expected = {
            path.name: b"of a worker that has just started\n",
            "access-20261124T070000Z.jsonl": b"line\n" * SIZE,
        }
    else:
        expected = {path.name: b"line\n" * SIZE}
    assert found == expected


def test_a_file_that_cannot_be_looked_at_is_told(rotation, write, monkeypatch):
    write(b"line\n")

    def refused(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(OperationError, match="Permission denied"):
        rotation.due(START)
