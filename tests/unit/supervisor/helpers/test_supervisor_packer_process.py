"""The process that packs: what it tells the master, and that it ends with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import until

from gateway.logs.packing import BLOCK_BYTES
from gateway.supervisor.helpers.packer_process import LOWEST_PRIORITY, serve
from gateway.supervisor.processes.channel import Channel, ChannelClosed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def old(tmp_path):
    (tmp_path / "access.jsonl").touch()
    path = tmp_path / "access-20261130T000000Z.jsonl"
    path.write_bytes(b"x" * (2 * BLOCK_BYTES))
    return path


@pytest.fixture
def channel():
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_it_packs_and_tells_the_master(old, channel):
    ours, theirs = channel
    serve(theirs, old.with_name("access.jsonl"), "zstd", 30)
    assert ours.receive() == [{"is": "packed", "busy": 0, "problems": []}]
    assert old.with_name(old.name + ".zst").exists()
    assert not old.exists()


def test_a_failure_is_told_too(tmp_path, channel):
    ours, theirs = channel
    serve(theirs, tmp_path / "gone" / "access.jsonl", "zstd", 30)
    ((cause, remedy),) = ours.receive()[0]["problems"]
    assert "No such file or directory" in cause
    assert remedy


def test_it_ends_with_the_master_and_leaves_the_plain_file(old, channel):
    ours, theirs = channel
    ours.close()
    serve(theirs, old.with_name("access.jsonl"), "zstd", 30)
    assert [each.name for each in old.parent.iterdir() if each != old.with_name("access.jsonl")] == [old.name]


def test_the_program_runs_at_the_lowest_priority(old, channel):
    ours, theirs = channel
    script = (
        "import os, sys\n"
        "from gateway.supervisor.helpers import packer_process\n"
        "packer_process.main()\n"
        "print(os.nice(0), open('/proc/self/comm').read().strip())\n"
    )
    arguments = [str(theirs.fileno()), str(old.with_name("access.jsonl")), "gzip", "30"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        pass_fds=[theirs.fileno()],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == [str(LOWEST_PRIORITY), "gateway-packs"]
    assert ours.receive() == [{"is": "packed", "busy": 0, "problems": []}]
    assert Path(f"{old}.gz").exists()


def test_a_program_that_is_killed_leaves_one_complete_file(old, channel):
    data = os.urandom(32 * BLOCK_BYTES)
    old.write_bytes(data)
    unfinished, packed = (old.with_name(old.name + ending) for ending in (".zst.tmp", ".zst"))
    command = [sys.executable, "-m", "gateway.supervisor.helpers.packer_process"]
    arguments = [str(channel[1].fileno()), str(old.with_name("access.jsonl")), "zstd", "30"]
    with subprocess.Popen([*command, *arguments], pass_fds=[channel[1].fileno()]) as program:
        until(lambda: unfinished.exists() or program.poll() is not None, "it has begun")
        program.kill()
    assert old.exists() or packed.exists()
    serve(channel[1], old.with_name("access.jsonl"), "zstd", 30)
    assert not old.exists()
    assert not unfinished.exists()
    assert zstd.decompress(packed.read_bytes()) == data


def test_a_master_that_is_gone_is_no_error(old, channel, monkeypatch):
    ours, theirs = channel

    def gone(_message):
        raise ChannelClosed("the other process closed the channel")

    monkeypatch.setattr(theirs, "send", gone)
    serve(theirs, old.with_name("access.jsonl"), "none", 30)
    assert ours.receive() == []
