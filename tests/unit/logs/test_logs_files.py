"""The files of a log: found by their names, put in order by their content, and read whatever they are packed with."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.log_lines import BEGIN, combined_of, line_of

from gateway.errors import UsageError
from gateway.logs import files
from gateway.logs.files import MAX_FILES, begin_since, is_over_before, open_logs, reading, rotated, standard_input
from gateway.logs.reader import Reader, Skipped

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}
HOUR = 3600.0
RANDOM = random.Random(1)  # for content that packs badly


def content(log, skipped: Skipped | None = None) -> list[bytes]:
    found = []
    with reading(log, skipped or Skipped()) as source:
        found.extend(hit.line + b"\n" for hit in Reader(lambda _: True).read(source))
    return found


@contextlib.contextmanager
def opened(*paths: Path):
    logs = open_logs(paths)
    try:
        yield logs
    finally:
        for log in logs:
            log.close()


def test_a_log_and_what_it_was_rotated_to_are_found(tmp_path):
    names = [
        *("access.jsonl", "access.jsonl.1", "access.jsonl.2.gz", "access.jsonl-20261130", "access.jsonl-20261130.zst"),
        *("access-20261130.jsonl", "access.3.jsonl.gz", "access-20261130T070000Z.jsonl.zst", "access.jsonl.gz"),
    ]
    others = [
        "access.jsonl.swp",
        "access.json",
        "accessXjsonl",
        "access-old.jsonl",
        "xaccess.jsonl",
        "access.jsonl.1.bak",
    ]
    for name in (*names, *others):
        (tmp_path / name).touch()
    assert {path.name for path in rotated(tmp_path / "access.jsonl")} == set(names)
    assert rotated(tmp_path / "nowhere" / "access.jsonl") == []


def test_the_order_is_that_of_the_content(tmp_path):
    (tmp_path / "a.1").write_bytes(b"torn\n" + line_of(2 * HOUR))
    (tmp_path / "a.2.gz").write_bytes(gzip.compress(line_of(3 * HOUR)))
    # It began before all others, and its line was written after them: so was its file.
    (tmp_path / "a.3.zst").write_bytes(zstd.compress(line_of(HOUR, duration_ms=4 * HOUR * 1000)))
    (tmp_path / "a.4").write_bytes(combined_of(HOUR))
    with opened(*rotated(tmp_path / "a")) as logs:
        assert [log.path.name for log in logs] == ["a.4", "a.1", "a.2.gz", "a.3.zst"]


def test_a_file_without_a_line_that_parses_stands_where_it_was_last_changed(tmp_path):
    for name, hours in (("a", 1), ("b", 3)):
        (tmp_path / name).write_bytes(line_of(hours * HOUR))
    (tmp_path / "c").write_bytes(b"")
    os.utime(tmp_path / "c", (0, BEGIN.timestamp() + 2 * HOUR))
    with opened(tmp_path / "b", tmp_path / "c", tmp_path / "a") as logs:
        assert [log.path.name for log in logs] == ["a", "c", "b"]


def test_a_file_that_was_named_twice_is_read_once(tmp_path):
    (tmp_path / "a").write_bytes(line_of())
    (tmp_path / "b").symlink_to("a")
    with opened(tmp_path / "a", tmp_path / "b", tmp_path / "a") as logs:
        assert len(logs) == 1


@pytest.mark.parametrize("suffix", PACKERS)
def test_what_a_file_is_packed_with_is_told_from_its_content(tmp_path, suffix):
    lines = [line_of(second) for second in range(3000)]
    (tmp_path / "log").write_bytes(PACKERS[suffix](b"".join(lines)))
    (log,) = open_logs([tmp_path / "log"])
    assert log.is_plain == (suffix == "")
    assert content(log) == lines


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_several_packed_pieces_in_one_file_are_one_text(tmp_path, suffix):
    (tmp_path / "log").write_bytes(PACKERS[suffix](line_of(1)) + PACKERS[suffix](line_of(2)))
    (log,) = open_logs([tmp_path / "log"])
    assert content(log) == [line_of(1), line_of(2)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_ends_early_is_read_as_far_as_it_goes_and_told(tmp_path, suffix):
    lines = [line_of(second, request_id=RANDOM.randbytes(16).hex()) for second in range(3000)]
    packed = PACKERS[suffix](b"".join(lines))
    (tmp_path / "log").write_bytes(packed[: len(packed) * 3 // 4])
    (log,) = open_logs([tmp_path / "log"])
    skipped = Skipped()
    found = content(log, skipped)
    assert found == lines[: len(found)]
    assert len(found) > 500
    (problem,) = skipped.problems
    assert problem.startswith(f"{tmp_path}/log: not read to its end: ")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_is_damaged_is_told(tmp_path, suffix):
    packed = bytearray(
        PACKERS[suffix](b"".join(line_of(second, request_id=RANDOM.randbytes(16).hex()) for second in range(100)))
    )
    packed[len(packed) // 2 : len(packed) // 2 + 32] = bytes(32)
    (tmp_path / "log").write_bytes(packed)
    (log,) = open_logs([tmp_path / "log"])
    skipped = Skipped()
    content(log, skipped)
    assert len(skipped.problems) == 1


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("is_pipe", [True, False])
def test_standard_input(tmp_path, suffix, is_pipe):
    lines = [line_of(second) for second in range(500)]
    program = (
        "import sys; from gateway.logs.files import *; from gateway.logs.reader import *\n"
        "with reading(standard_input(), Skipped()) as source:\n"
        "    print(sum(1 for _ in Reader(lambda _: True).read(source)))"
    )
    (tmp_path / "log").write_bytes(PACKERS[suffix](b"".join(lines)))
    with (tmp_path / "log").open("rb") as file:
        given = {"input": file.read()} if is_pipe else {"stdin": file}
        done = subprocess.run([sys.executable, "-c", program], **given, capture_output=True, check=True, timeout=60)
    assert done.stdout == b"500\n"


def test_a_pipe_that_was_named_is_read():
    reader, writer = os.pipe()
    os.write(writer, line_of())
    os.close(writer)
    (log,) = open_logs([Path(f"/dev/fd/{reader}")])
    os.close(reader)
    assert content(log) == [line_of()]


@pytest.mark.parametrize(("name", "words"), [("none", "No such file"), (".", "is a folder"), ("a\0b", "no file name")])
def test_what_can_not_be_read_is_refused_in_words(tmp_path, name, words):
    with pytest.raises(UsageError, match=words) as raised:
        open_logs([tmp_path / name])
    assert raised.value.remedy


def test_as_many_files_as_are_read_at_once_and_one_more(tmp_path):
    paths = [tmp_path / str(number) for number in range(MAX_FILES + 1)]
    for path in paths:
        path.touch()
    with opened(*paths[:-1]) as logs:
        assert len(logs) == MAX_FILES
    with pytest.raises(UsageError, match=str(MAX_FILES)):
        open_logs(paths)


def test_standard_input_is_read_from_where_it_stands(tmp_path, monkeypatch):
    (tmp_path / "log").write_bytes(line_of())
    with (tmp_path / "log").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert content(standard_input()) == [line_of()]


class Counting(io.FileIO):
    """Counts what is read."""

    bytes_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes_read += len(data or b"")
        return data


def since(tmp_path, lines: list[bytes], seconds: float) -> tuple[list[bytes], int]:
    """What is read of a file from this second on, and how many bytes the search took."""
    (tmp_path / "log").write_bytes(b"".join(lines))
    (log,) = open_logs([tmp_path / "log"])
    log.file.close()
    log.file = Counting(tmp_path / "log", "rb")
    is_inside = begin_since(log, BEGIN.timestamp() + seconds)
    count = log.file.bytes_read
    reader = Reader(lambda _: True)
    with reading(log, reader.skipped) as source:
        found = [hit.line + b"\n" for hit in reader.read(source, begins_inside_line=is_inside)]
    assert reader.skipped.unreadable == 0
    return found, count


def test_a_bisection_leaves_out_no_line_that_began_since_and_reads_little(tmp_path):
    lines = [line_of(second) for second in range(0, 40_000, 10)]
    for seconds in (-1, 0, 5, 10_000, 39_990, 50_000):
        found, count = since(tmp_path, lines, seconds)
        wanted = [line for second, line in zip(range(0, 40_000, 10), lines, strict=True) if second >= seconds]
        assert found[len(found) - len(wanted) :] == wanted
        assert len(found) - len(wanted) < 400
        assert count < len(b"".join(lines)) / 2


def test_long_exchanges_stand_where_they_ended(tmp_path):
    """Half of them take half an hour: by the time they began, the file is out of order."""
    ends = range(0, 40_000, 10)
    lines = [line_of(end - 1800 * (end // 10 % 2), duration_ms=1800_000.0 * (end // 10 % 2)) for end in ends]
    begun = {line: end - 1800 * (end // 10 % 2) for end, line in zip(ends, lines, strict=True)}
    for seconds in (5_000, 20_000, 30_000):
        found, _ = since(tmp_path, lines, seconds)
        assert set(found) >= {line for line in lines if begun[line] >= seconds}


def test_a_file_without_times_that_say_when_an_exchange_ended_is_read_whole(tmp_path):
    lines = [combined_of(second) for second in range(3000)]
    assert since(tmp_path, lines, 2900)[0] == lines


def test_a_log_is_over_before_if_the_next_one_began_long_before(tmp_path):
    (tmp_path / "log").write_bytes(line_of())
    with opened(tmp_path / "log") as (log,):
        begin = BEGIN.timestamp()
        assert not is_over_before(log, begin + files.DISORDER_SECONDS)
        assert is_over_before(log, begin + files.DISORDER_SECONDS + 1)
    (tmp_path / "log").write_bytes(combined_of())
    with opened(tmp_path / "log") as (log,):
        assert not is_over_before(log, begin + HOUR)


def test_a_rotated_file_that_is_there_plain_and_packed_is_read_once(tmp_path):
    plain = tmp_path / "access-20261124T070000Z.jsonl"
    plain.write_bytes(line_of(1))
    (tmp_path / f"{plain.name}.zst").write_bytes(zstd.compress(line_of(1)))
    for paths, found in ((rotated(tmp_path / "access.jsonl"), f"{plain.name}.zst"), ([plain], plain.name)):
        (log,) = open_logs(paths)
        assert log.path.name == found
        log.close()


def test_a_rotated_file_that_was_packed_meanwhile_is_read(tmp_path):
    plain = tmp_path / "access-20261124T070000Z.jsonl"
    (tmp_path / f"{plain.name}.gz").write_bytes(gzip.compress(line_of(1)))
    (log,) = open_logs([plain])
    assert content(log) == [line_of(1)]
