"""Whatever happens to the log, in any order: each line is in exactly one file in the end, and never in two before."""

import contextlib
import errno
import os
import random
from collections import Counter

import pytest
from support.log_lines import BEGIN, line_of

from gateway.logs.files import open_logs, reading, rotated
from gateway.logs.packing import Interrupted, pack_and_delete
from gateway.logs.reader import Reader
from gateway.logs.rotation import Rotation
from gateway.logs.writer import AccessLogWriter

SIZE = 2_000  # two lines
WORKERS = 3
STEPS = 250


class World:
    """A log with workers that write to it, on a disk that is full at times."""

    def __init__(self, path, seed):
        self.path = path
        self.chance = random.Random(seed)
        self.rotation = Rotation(path, SIZE, 1e9)
        self.seconds = BEGIN.timestamp()
        self.is_full = False
        self.written = 0
        self.rotations = 0
        self.workers = [self.worker() for _ in range(WORKERS)]

    def worker(self):
        return AccessLogWriter(self.path, holds_lock=True, write=self.disk)

    def disk(self, descriptor, data):
        if not self.is_full:
            return os.write(descriptor, data)
        room = self.chance.randrange(-200, len(data))
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[:room])

    # what may happen

    def write(self):
        for _ in range(self.chance.randrange(6)):
            self.chance.choice(self.workers).write(line_of(request_id=f"{self.written:032x}"))
            self.written += 1

    def flush(self):
        self.chance.choice(self.workers).flush()

    def reopen(self):
        self.chance.choice(self.workers).reopen()

    def rotate(self):
        self.seconds += self.chance.choice((-5, 0, 0, 1))
        state = self.rotation.due(self.seconds)
        if state is not None:
            self.rotations += self.rotation.rotate(state, self.seconds) is not None

    def pack(self):
        assert pack_and_delete(self.path, self.chance.choice(("zstd", "gzip", "none")), 500).problems == []

    def interrupt_packing(self):
        with contextlib.suppress(Interrupted):
            pack_and_delete(self.path, "zstd", 500, lambda: False)

    def fill(self):
        self.is_full = not self.is_full

    def replace(self):
        """A worker ends, and another one starts."""
        self.is_full = False
        number = self.chance.randrange(WORKERS)
        self.workers[number].close()
        self.workers[number] = self.worker()

    def count(self):
        """How often each request is in the files."""
        reader = Reader(lambda _: True)
        found = Counter()
        for log in open_logs(rotated(self.path)):
            with reading(log, reader.skipped) as source:
                found.update(hit.entry.request_id for hit in reader.read(source))
        assert reader.skipped.problems == []
        return found

    def count_once(self):
        assert max(self.count().values(), default=1) == 1


@pytest.mark.parametrize("seed", range(12))
def test_each_line_is_in_one_file(tmp_path, seed):
    world = World(tmp_path / "access.jsonl", seed)
    often = [world.write, world.flush, world.reopen, world.rotate, world.pack]
    seldom = [world.interrupt_packing, world.fill, world.replace, world.count_once]
    for _ in range(STEPS):
        world.chance.choice(often * 3 + seldom)()
    world.is_full = False
    for worker in world.workers:
        worker.close()
    pack_and_delete(world.path, "zstd", 500)
    assert world.count() == Counter(f"{number:032x}" for number in range(world.written))
    assert world.rotations >= 4
