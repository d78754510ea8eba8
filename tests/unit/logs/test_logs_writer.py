"""The log's file: batches, rotation, full disks, several writers; serving is never held up by any of it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway.errors import ConfigError
from gateway.logs import writer as writer_module
from gateway.logs.writer import (
    FLUSH_SECONDS,
    MAX_BATCH_BYTES,
    MAX_PENDING_BYTES,
    OPEN_ATTEMPTS,
    PIPE_CHUNK_BYTES,
    REPORT_SECONDS,
    AccessLogWriter,
)

LINE = b'{"a":1}\n'


class Disk:
    """Stands in for `os.write`: full, slow or short as told; remembers what was written in which pieces."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.error: OSError | None = None
        self.at_most: int | None = None

    def write(self, descriptor: int, data: bytes) -> int:
        assert descriptor > 2
        if self.error is not None:
            raise self.error
        piece = data[: self.at_most]
        self.pieces.append(piece)
        return len(piece)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "access.jsonl"


def test_a_line_waits_for_the_flush_and_close_flushes(path: Path) -> None:
    writer = AccessLogWriter(path)
    writer.write(LINE)
    assert path.read_bytes() == b""
    writer.flush()
    assert path.read_bytes() == LINE
    writer.write(LINE)
    writer.close()
    assert path.read_bytes() == LINE * 2
    writer.close()


def test_file_and_folder_are_not_for_everybody(path: Path) -> None:
    AccessLogWriter(path).close()
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o027 == 0


def test_lines_are_appended_to_what_is_there(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"old\n")
    writer = AccessLogWriter(path)
    writer.write(LINE)
    writer.close()
    assert path.read_bytes() == b"old\n" + LINE


def test_a_file_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory") as caught:
        AccessLogWriter(tmp_path)
    assert caught.value.remedy
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError):
        AccessLogWriter(tmp_path / "file" / "access.jsonl")


def test_the_loops_timer_flushes(path: Path) -> None:
    async def dialogue() -> None:
        disk = Disk()
        writer = AccessLogWriter(path, write=disk.write)
        writer.write(LINE)
        writer.start(asyncio.get_running_loop())
        writer.write(LINE)
        while not disk.pieces:  # noqa: ASYNC110  # a file has no event to wait for
            await asyncio.sleep(FLUSH_SECONDS / 10)
        assert disk.pieces == [LINE * 2]
        writer.write(LINE)
        writer.write(LINE)
        writer.close()
        assert disk.pieces == [LINE * 2] * 2

    asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


def test_the_timer_tries_again_after_a_failure(path: Path) -> None:
    async def dialogue() -> None:
        disk = Disk()
        disk.error = OSError(errno.ENOSPC, "No space left on device")
        writer = AccessLogWriter(path, write=disk.write)
        writer.start(asyncio.get_running_loop())
        writer.write(LINE)
        while not writer._is_stuck:  # noqa: ASYNC110  # the timer's doing
            await asyncio.sleep(FLUSH_SECONDS / 10)
        disk.error = None
        while not disk.pieces:  # noqa: ASYNC110
            await asyncio.sleep(FLUSH_SECONDS / 10)
        assert disk.pieces == [LINE]
        writer.close()

    asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


def test_a_full_batch_goes_out_at_once_in_one_write(path: Path) -> None:
    disk = Disk()
    writer = AccessLogWriter(path, write=disk.write)
    line = b"x" * 1023 + b"\n"
    for _ in range(MAX_BATCH_BYTES // 1024 - 1):
        writer.write(line)
    assert disk.pieces == []
    writer.write(line)
    assert disk.pieces == [line * (MAX_BATCH_BYTES // 1024)]
    writer.close()


def test_a_short_write_to_a_pipe_is_carried_on(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    disk = Disk()
    disk.at_most = 5
    writer = AccessLogWriter(fifo, write=disk.write)
    writer.write(LINE)
    writer.write(LINE)
    writer.close()
    os.close(reading)
    assert b"".join(disk.pieces) == LINE * 2


class SmallDisk:
    """Stands in for `os.write` to a file on a disk with so much room, that other writers may fill too."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = os.write(descriptor, data[: self.room])
        self.room -= count
        return count


def lines_with(number: int) -> bytes:
    return b'{"a":%d}\n' % number


@pytest.mark.parametrize("room", range(1, 3 * len(LINE)))
@pytest.mark.parametrize("has_neighbour", [False, True], ids=["alone", "beside another worker"])
def test_a_line_that_a_full_disk_cut_short_swallows_no_other(path: Path, room: int, has_neighbour: bool) -> None:
    disk = SmallDisk(room)
    writer, neighbour = (AccessLogWriter(path, write=disk.write) for _ in range(2))
    for number in range(3):
        writer.write(lines_with(number))
    writer.flush()
    disk.room = 1 << 20
    if has_neighbour:
        neighbour.write(lines_with(9))
    neighbour.close()
    writer.close()
    found = path.read_bytes()
    assert found.endswith(b"\n")
    assert b"\n\n" not in found
    whole = [line for line in found.splitlines(keepends=True) if line.endswith(b"}\n")]
    assert sorted(whole) == [lines_with(number) for number in ((0, 1, 2, 9) if has_neighbour else (0, 1, 2))]
    assert len(found.splitlines()) - len(whole) <= 1
    assert (writer.dropped_lines, neighbour.dropped_lines) == (0, 0)


def test_a_disk_that_takes_no_whole_line_is_asked_again_later(path: Path) -> None:
    disk = Disk()
    disk.at_most = 5
    writer = AccessLogWriter(path, write=disk.write)
    writer.write(LINE)
    writer.flush()
    assert disk.pieces == [LINE[:5]]
    disk.at_most = None
    writer.close()
    assert disk.pieces == [LINE[:5], LINE]


@pytest.mark.parametrize("torn", [b'{"a":', b'{"a":1}'])
def test_a_line_that_the_end_of_a_process_cut_short_is_ended_first(path: Path, torn: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(LINE + torn)
    writer = AccessLogWriter(path)
    writer.write(LINE)
    writer.write(LINE)
    writer.close()
    assert path.read_bytes() == LINE + torn + b"\n" + LINE * 2


def test_a_file_that_may_not_be_read_is_appended_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def unreadable(name: str | Path, flags: int, *mode: int) -> int:
        if not flags & os.O_WRONLY:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, flags, *mode)

    path.parent.mkdir()
    path.write_bytes(b"torn")
    monkeypatch.setattr(os, "open", unreadable)
    writer = AccessLogWriter(path)
    writer.write(LINE)
    writer.close()
    assert path.read_bytes() == b"torn" + LINE


def test_a_file_that_can_no_longer_be_read_is_appended_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_bytes(LINE)
    writer = AccessLogWriter(path)

    def broken(*_arguments: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    writer.write(LINE)
    writer.close()
    assert path.read_bytes() == LINE * 2


def test_a_write_of_nothing_does_not_turn_in_circles(path: Path) -> None:
    disk = Disk()
    disk.at_most = 0
    writer = AccessLogWriter(path, write=disk.write)
    writer.write(LINE)
    writer.flush()
    assert disk.pieces == [b""]
    disk.at_most = None
    writer.close()
    assert disk.pieces == [b"", LINE]


def test_a_full_disk_is_reported_once_in_a_while_and_lines_are_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk, clock = Disk(), Clock()
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    writer = AccessLogWriter(path, write=disk.write, now=clock)
    writer.write(LINE)
    writer.flush()
    clock.seconds = REPORT_SECONDS - 0.1
    writer.flush()
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    clock.seconds = REPORT_SECONDS
    writer.flush()
    assert len(caplog.records) == 2
    disk.error = None
    writer.flush()
    assert disk.pieces == [LINE]
    assert writer.dropped_lines == 0
    writer.close()


def test_lines_beyond_the_bound_are_dropped_and_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk, clock = Disk(), Clock()
    disk.error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    writer = AccessLogWriter(path, write=disk.write, now=clock)
    line = b"x" * (MAX_PENDING_BYTES // 16 - 1) + b"\n"
    for _ in range(16):
        writer.write(line)
    assert (writer.dropped_lines, caplog.records) == (0, [])
    writer.write(b"\n")
    writer.write(b"\n")
    assert writer.dropped_lines == 2
    assert "dropped_lines=2" in repr(writer)
    assert "lines are dropped; 1 lines lost" in caplog.text
    clock.seconds = REPORT_SECONDS
    writer.write(b"\n")
    assert "lines are dropped; 2 lines lost" in caplog.text
    disk.error = None
    writer.write(b"")
    writer.flush()
    assert b"".join(disk.pieces) == line * 16
    writer.close()


def test_lines_left_at_the_end_are_counted_as_lost(path: Path) -> None:
    disk = Disk()
    disk.error = OSError(errno.EIO, "Input/output error")
    writer = AccessLogWriter(path, write=disk.write)
    writer.write(LINE)
    writer.write(LINE)
    writer.close()
    assert writer.dropped_lines == 2


def test_a_stuck_disk_is_not_asked_at_every_line(path: Path) -> None:
    disk = Disk()
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    writer = AccessLogWriter(path, write=disk.write)
    writer.write(b"x" * MAX_BATCH_BYTES + b"\n")
    disk.error = None
    writer.write(LINE)
    assert disk.pieces == []
    writer.close()
    assert b"".join(disk.pieces).endswith(LINE)


def test_the_real_full_device_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    writer = AccessLogWriter(Path("/dev/full"))
    writer.write(LINE)
    writer.flush()
    assert "No space left on device" in caplog.text
    writer.close()
    assert writer.dropped_lines == 1


def test_after_a_rotation_lines_go_to_the_new_file(path: Path) -> None:
    writer = AccessLogWriter(path)
    writer.write(b"first\n")
    path.rename(path.with_suffix(".1"))
    writer.write(b"second\n")
    writer.reopen()
    writer.write(b"third\n")
    writer.close()
    assert path.with_suffix(".1").read_bytes() == b"first\nsecond\n"
    assert path.read_bytes() == b"third\n"


def test_a_rotation_that_fails_keeps_the_old_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = AccessLogWriter(path)
    path.rename(path.with_suffix(".1"))
    path.mkdir()
    writer.reopen()
    writer.write(LINE)
    writer.close()
    assert path.with_suffix(".1").read_bytes() == LINE
    assert "the old file is still used" in caplog.text


def test_the_writer_notices_that_its_file_was_renamed(path: Path) -> None:
    writer = AccessLogWriter(path)
    assert writer.is_current
    path.rename(path.with_suffix(".1"))
    assert not writer.is_current
    writer.reopen()
    assert writer.is_current
    writer.close()


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_file_that_is_open_is_locked_and_no_other(path: Path) -> None:
    old = path.with_suffix(".1")
    first, second = (AccessLogWriter(path, holds_lock=True) for _ in range(2))
    path.rename(old)
    first.reopen()
    assert is_locked(path)
    assert is_locked(old)
    second.reopen()
    assert not is_locked(old)
    for writer in (first, second):
        writer.close()
    assert not is_locked(path)


def test_a_worker_inherits_the_lock_and_gives_it_back_by_itself(path: Path) -> None:
    old = path.with_suffix(".1")
    writer = AccessLogWriter(path, holds_lock=True)
    reading, told = os.pipe()
    worker = os.fork()
    if not worker:
        os.read(reading, 1)
        os._exit(0)  # as a process that was killed: nothing is closed by its own doing
    path.rename(old)
    writer.reopen()
    assert is_locked(old)
    os.write(told, b"x")
    os.waitpid(worker, 0)
    assert not is_locked(old)
    writer.close()
    os.close(reading)
    os.close(told)


@pytest.mark.parametrize("renames", [1, OPEN_ATTEMPTS - 1, OPEN_ATTEMPTS])
def test_a_file_that_is_renamed_before_it_is_locked_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    real, left = fcntl.flock, renames
    before = open_descriptors()

    def renamed_first(descriptor: int, operation: int) -> None:
        nonlocal left
        if left:
            path.rename(path.with_suffix(f".{left}"))
            left -= 1
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", renamed_first)
    if renames == OPEN_ATTEMPTS:
        with pytest.raises(ConfigError, match="renamed 10 times"):
            AccessLogWriter(path, holds_lock=True)
    else:
        writer = AccessLogWriter(path, holds_lock=True)
        assert writer.is_current
        assert is_locked(path)
        writer.close()
    assert open_descriptors() == before


def test_a_filesystem_without_locks_is_written_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    writer = AccessLogWriter(path, holds_lock=True)
    writer.write(LINE)
    writer.close()
    assert path.read_bytes() == LINE


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = open_descriptors()
    writer = AccessLogWriter(path)
    writer.reopen()
    writer.close()
    assert open_descriptors() == before


def test_lines_of_two_workers_never_mix(path: Path) -> None:
    writers = [AccessLogWriter(path), AccessLogWriter(path)]
    for number in range(400):
        for name, writer in zip("ab", writers, strict=True):
            writer.write((name * (100 + number) + "\n").encode())
    for writer in writers:
        writer.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 800
    assert all(len(set(line)) == 1 for line in lines)


STDOUT = """
import sys
from gateway.logs.writer import AccessLogWriter
writer = AccessLogWriter(None)
writer.reopen()
for number in range(1000):
    writer.write(b"%d %s\\n" % (number, b"x" * 40))
writer.close()
print("still open", writer.dropped_lines, file=sys.stderr)
"""


def test_standard_output_may_be_a_pipe_or_a_file(tmp_path: Path) -> None:
    expected = b"".join(b"%d %s\n" % (number, b"x" * 40) for number in range(1000))
    piped = subprocess.run([sys.executable, "-c", STDOUT], capture_output=True, check=True)
    assert piped.stdout == expected
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", STDOUT], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == expected


def test_a_closed_standard_output_is_named_at_the_start() -> None:
    saved = os.dup(1)
    os.close(1)
    try:
        with pytest.raises(ConfigError, match="standard output"):
            AccessLogWriter(None)
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def test_a_pipe_gets_whole_lines_that_it_takes_in_one_piece(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    disk = Disk()
    writer = AccessLogWriter(fifo, write=disk.write)
    line = b"x" * (PIPE_CHUNK_BYTES // 2 - 1) + b"\n"
    for one in (line, line, line, b"y" * PIPE_CHUNK_BYTES + b"\n", LINE):
        writer.write(one)
    writer.close()
    os.close(reading)
    assert disk.pieces == [line * 2, line, b"y" * PIPE_CHUNK_BYTES + b"\n", LINE]


def test_a_reader_that_stands_still_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = AccessLogWriter(fifo)
    count = 3 * 1024
    for _ in range(count):
        writer.write(b"x" * 99 + b"\n")
    writer.flush()
    assert writer._is_stuck
    assert caplog.record_tuples == []
    got = b""
    while len(got) < count * 100:
        got += os.read(reading, 1 << 20)
        writer.flush()
    assert got == (b"x" * 99 + b"\n") * count
    writer.close()
    os.close(reading)


@pytest.mark.parametrize(("is_there", "opened"), [(True, "log && chmod g+rw "), (False, " && chmod g+rwx ")])
def test_a_closed_log_is_refused_with_the_command_that_opens_it(tmp_path, monkeypatch, is_there, opened):
    path = tmp_path / "log"
    if is_there:
        path.touch()

    def closed(*_arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(ConfigError, match="Permission denied") as raised:
        AccessLogWriter(path)
    monkeypatch.undo()
    assert opened in raised.value.remedy
    assert raised.value.remedy.endswith(str(path if is_there else tmp_path))


def test_a_line_that_another_worker_is_writing_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel copies a batch page by page, so a look at the file may come in the middle of it."""
    path.parent.mkdir()
    path.write_bytes(b'{"a":')

    def goes_on(_seconds: float) -> None:
        with path.open("ab") as file:
            file.write(b"1}\n")

    monkeypatch.setattr(writer_module.time, "sleep", goes_on)
    writer = AccessLogWriter(path)
    writer.write(b'{"b":2}\n')
    writer.close()
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


def test_a_line_that_was_cut_short_is_waited_for_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(writer_module.time, "sleep", waited.append)
    path.parent.mkdir()
    path.write_bytes(b'{"a":')
    is_full = True

    def write(descriptor: int, data: bytes) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)

    writer = AccessLogWriter(path, write=write)
    writer.write(b'{"b":2}\n')
    for _ in range(3):
        writer.flush()
    is_full = False
    writer.close()
    assert path.read_bytes() == b'{"a":\n{"b":2}\n'
    assert len(waited) == writer_module.LOOKS - 1


MANY_BATCHES = """
import sys
from pathlib import Path
from gateway.logs.writer import AccessLogWriter

writer, line = AccessLogWriter(Path(sys.argv[1])), sys.argv[2].encode() + b"\\n"
for number in range(4000):
    writer.write(line)
    if number % 31 == 0:
        writer.flush()
writer.close()
"""


def test_many_processes_leave_no_blank_line(path: Path) -> None:
    """Batches of many pages, at the same time: nothing of a neighbour's is taken for a line that was cut short."""
    line = f'{{"a":"{"x" * 900}"}}'
    command = [sys.executable, "-c", MANY_BATCHES, str(path), line]
    writing = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(PATIENCE_SECONDS) for process in writing] == [0] * 4
    assert path.read_text() == f"{line}\n" * 16_000
