"""Rotated files are packed and the oldest deleted; whenever that is interrupted, each line is in one complete file."""

import errno
import fcntl
import gzip
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.log_lines import line_of

from gateway.logs import packing
from gateway.logs.files import open_logs, reading, rotated
from gateway.logs.packing import BLOCK_BYTES, Interrupted, pack_and_delete
from gateway.logs.reader import Reader
from gateway.logs.writer import AccessLogWriter

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACKERS = {"zstd": (".zst", zstd.decompress), "gzip": (".gz", gzip.decompress)}
DATA = b"".join(line_of(second) for second in range(500))
STAMPS = ("20261128T000000Z", "20261129T000000Z", "20261129T000000Z-2", "20261130T000000Z")


@pytest.fixture
def log(tmp_path):
    """The log that is written to."""
    path = tmp_path / "access.jsonl"
    path.write_bytes(line_of(999))
    return path


@pytest.fixture
def old(log):
    """One rotated file."""
    path = log.with_name(f"access-{STAMPS[3]}.jsonl")
    path.write_bytes(DATA)
    return path


def names(log):
    return sorted(each.name for each in log.parent.iterdir() if each != log)


def lines(log):
    """All lines, as `gateway logs` reads them."""
    reader = Reader(lambda _: True)
    found = []
    for each in open_logs(rotated(log)):
        with reading(each, reader.skipped) as source:
            found += [hit.line + b"\n" for hit in reader.read(source)]
    assert not reader.skipped.problems
    return found


@pytest.mark.parametrize("compress", ["zstd", "gzip"])
def test_a_rotated_file_is_packed_and_keeps_its_mode_and_time(log, old, compress):
    ending, unpack = UNPACKERS[compress]
    old.chmod(0o604)
    os.utime(old, (1, 1234567890))
    outcome = pack_and_delete(log, compress, 30)
    packed = old.with_name(old.name + ending)
    assert names(log) == [packed.name]
    assert unpack(packed.read_bytes()) == DATA
    assert (stat.S_IMODE(packed.stat().st_mode), packed.stat().st_mtime) == (0o604, 1234567890)
    assert (outcome.packed, outcome.deleted, outcome.busy, outcome.problems) == (1, 0, 0, [])
    assert pack_and_delete(log, compress, 30).packed == 0
    assert log.read_bytes() == line_of(999)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give any group")
def test_a_packed_file_keeps_its_group(log, old):
    os.chown(old, -1, 4711)
    pack_and_delete(log, "zstd", 30)
    assert old.with_name(old.name + ".zst").stat().st_gid == 4711


def test_without_compression_files_stay_as_they_are(log, old):
    assert pack_and_delete(log, "none", 30).problems == []
    assert old.read_bytes() == DATA
    assert names(log) == [old.name]


def test_a_file_of_several_blocks_is_packed_whole(log, old):
    data = os.urandom(2 * BLOCK_BYTES + 1)
    old.write_bytes(data)
    asked = []
    pack_and_delete(log, "zstd", 30, lambda: asked.append(1) or True)
    assert zstd.decompress(old.with_name(old.name + ".zst").read_bytes()) == data
    assert len(asked) == 3


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5])
def test_only_the_newest_stay(log, keep):
    endings = (".gz", ".zst", "", "")
    for stamp, ending in zip(STAMPS, endings, strict=True):
        log.with_name(f"access-{stamp}.jsonl{ending}").write_bytes(b"")
    outcome = pack_and_delete(log, "none", keep)
    assert outcome.deleted == max(0, 4 - keep)
    left = [f"access-{stamp}.jsonl{ending}" for stamp, ending in zip(STAMPS, endings, strict=True)]
    assert names(log) == sorted(left[-keep:])


def test_a_rotation_that_is_there_twice_counts_once_and_goes_as_one(log):
    for ending in ("", ".zst", ".gz.tmp"):
        log.with_name(f"access-{STAMPS[0]}.jsonl{ending}").write_bytes(b"")
    log.with_name(f"access-{STAMPS[1]}.jsonl.zst").write_bytes(b"")
    assert pack_and_delete(log, "none", 1).deleted == 1
    assert names(log) == [f"access-{STAMPS[1]}.jsonl.zst"]


def test_files_of_others_are_neither_packed_nor_deleted(log, old):
    others = ["access.jsonl.1", "access.jsonl.1.gz", "access-20200101.jsonl", f"other-{STAMPS[0]}.jsonl", "notes.txt"]
    for name in others:
        log.with_name(name).write_bytes(b"x")
    pack_and_delete(log, "zstd", 1)
    assert names(log) == sorted([*others, old.name + ".zst"])


# files that are still written to


def test_a_file_that_a_worker_still_writes_to_is_packed_later(log, old):
    old.unlink()
    writer = AccessLogWriter(log, holds_lock=True)
    log.rename(old)
    assert pack_and_delete(log, "zstd", 30).busy == 1
    writer.write(line_of(1000))
    writer.flush()
    writer.reopen()
    outcome = pack_and_delete(log, "zstd", 30)
    assert (outcome.packed, outcome.busy) == (1, 0)
    writer.write(line_of(1001))
    writer.close()
    assert lines(log) == [line_of(999), line_of(1000), line_of(1001)]


def test_a_file_that_a_worker_still_writes_to_is_not_deleted(log, old):
    oldest = log.with_name(f"access-{STAMPS[0]}.jsonl")
    old.rename(log)
    writer = AccessLogWriter(log, holds_lock=True)
    log.rename(oldest)
    old.write_bytes(DATA)
    assert pack_and_delete(log, "none", 1).busy == 1
    assert oldest.exists()
    writer.close()
    assert pack_and_delete(log, "none", 1).deleted == 1
    assert names(log) == [old.name]


def test_a_line_of_a_process_without_a_lock_is_not_lost(log, old):
    def adds() -> bool:
        with old.open("ab") as file:
            file.write(line_of(1000))
        return True

    outcome = pack_and_delete(log, "zstd", 30, adds)
    assert (outcome.packed, outcome.busy) == (0, 1)
    assert names(log) == [old.name]
    assert line_of(1000) in lines(log)


def test_a_file_that_another_gateway_packs_is_left_to_it(log, old):
    with old.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        unfinished = old.with_name(old.name + ".zst.tmp")
        unfinished.write_bytes(b"half")
        assert pack_and_delete(log, "zstd", 30).busy == 1
        assert unfinished.read_bytes() == b"half"


@pytest.mark.parametrize("is_open", [False, True], ids=["before it is opened", "before it is locked"])
def test_a_file_that_another_gateway_has_just_packed_is_left_alone(log, old, monkeypatch, is_open):
    real = os.open

    def packed_meanwhile(name, flags, *mode):
        if Path(name) == old and not is_open:
            old.unlink()
        descriptor = real(name, flags, *mode)
        if Path(name) == old:
            old.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", packed_meanwhile)
    assert pack_and_delete(log, "zstd", 30).packed == 0
    assert names(log) == []


# interruptions


STEPS = ("created", "half written", "written", "named", "not deleted")


class Killed(BaseException):
    """Ends at this point as SIGKILL does: nothing is cleaned up."""


def killed_at(step, monkeypatch):
    """Ends the work at a step. Cleaning up is prevented too, since no code runs after a SIGKILL."""
    real = Path.unlink
    is_dead = False

    def die(*_arguments, **_keywords):
        nonlocal is_dead
        is_dead = True
        raise Killed

    def only_alive(path, **more):
        if is_dead:
            raise Killed
        real(path, **more)

    monkeypatch.setattr(Path, "unlink", only_alive)
    if step == "created":
        monkeypatch.setattr(packing, "give_like", die)
    elif step == "half written":
        packer = SimpleNamespace(compress=lambda block: block[:100], flush=die)
        monkeypatch.setattr(packing, "_packer", lambda _: packer)
    elif step == "written":
        monkeypatch.setattr(Path, "rename", die)
    elif step == "named":
        monkeypatch.setattr(packing, "flush_folder", die)
    elif step == "not deleted":
        monkeypatch.setattr(packing, "_unlink", lambda path: die() if path.suffix == ".jsonl" else None)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("compress", ["zstd", "gzip"])
def test_whenever_packing_is_killed_each_line_counts_once(log, old, monkeypatch, step, compress):
    killed_at(step, monkeypatch)
    expected = [*DATA.splitlines(keepends=True), line_of(999)]
    with pytest.raises(Killed):
        pack_and_delete(log, compress, 30)
    monkeypatch.undo()
    assert lines(log) == expected
    assert len(names(log)) == 2, "something was begun"
    assert pack_and_delete(log, compress, 30).problems == []
    assert lines(log) == expected
    assert names(log) == [old.name + UNPACKERS[compress][0]]


def test_what_one_compression_left_unfinished_another_one_finishes(log, old):
    old.with_name(old.name + ".gz.tmp").write_bytes(b"half")
    pack_and_delete(log, "zstd", 30)
    assert names(log) == [old.name + ".zst"]


def test_a_packed_file_is_not_packed_again_whatever_the_compression_is_now(log, old):
    packed = old.with_name(old.name + ".gz")
    packed.write_bytes(gzip.compress(DATA))
    for compress in ("none", "zstd"):
        old.write_bytes(DATA)
        assert pack_and_delete(log, compress, 30).packed == 0
        assert names(log) == [packed.name]
    assert gzip.decompress(packed.read_bytes()) == DATA


def test_the_gateways_end_interrupts_it_and_leaves_the_plain_file(log, old):
    with pytest.raises(Interrupted):
        pack_and_delete(log, "zstd", 30, lambda: False)
    assert names(log) == [old.name]
    assert old.read_bytes() == DATA


# failures


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free disk space"), (errno.EACCES, "let the user"), (errno.EIO, "name a file on a local disk")],
)
def test_a_full_or_closed_disk_leaves_the_plain_file_and_is_told(log, old, monkeypatch, number, remedy):
    def failing(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    outcome = pack_and_delete(log, "zstd", 30)
    ((cause, told),) = outcome.problems
    assert cause == f"access log {log}: {old.name} is not packed: {os.strerror(number)}"
    assert remedy in told
    assert names(log) == [old.name]


def test_a_filesystem_without_locks_packs_nothing(log, old, monkeypatch):
    def refused(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    ((_, remedy),) = pack_and_delete(log, "zstd", 30).problems
    assert "compress: none" in remedy
    assert old.read_bytes() == DATA


def test_a_file_that_is_closed_to_the_gateway_is_named_in_the_remedy(log, old, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != old)
    real = os.open

    def refused(name, flags, *mode):
        if Path(name) == old:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, flags, *mode)

    monkeypatch.setattr(os, "open", refused)
    ((_, remedy),) = pack_and_delete(log, "zstd", 30).problems
    assert remedy.endswith(str(old))


def test_a_file_that_cannot_be_deleted_keeps_no_other_from_it(log, old, monkeypatch):
    for stamp in STAMPS[:3]:
        log.with_name(f"access-{stamp}.jsonl.gz").write_bytes(b"")
    real = Path.unlink

    def refused(path, **more):
        if STAMPS[0] in path.name:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path, **more)

    monkeypatch.setattr(Path, "unlink", refused)
    outcome = pack_and_delete(log, "none", 1)
    assert [cause for cause, _ in outcome.problems] == [
        f"access log {log}: access-{STAMPS[0]}.jsonl is not deleted: Permission denied"
    ]
    assert names(log) == [f"access-{STAMPS[0]}.jsonl.gz", old.name]


def test_a_folder_that_is_gone_is_told(tmp_path):
    ((cause, remedy),) = pack_and_delete(tmp_path / "gone" / "access.jsonl", "zstd", 30).problems
    assert "No such file or directory" in cause
    assert remedy
