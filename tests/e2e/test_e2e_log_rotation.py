"""The access log is rotated under load, also beside a second gateway: each request has exactly one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Self

import pytest
from support.client import Client
from support.gateway import settings_for
from support.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.e2e

CLIENTS = 4
# Makes a line of 2.5 KiB, so that the smallest size is reached after 26 of them.
TARGET = "/webmail?" + "x" * 1800
LINES_PER_FILE = 26
# A killed worker loses what it has not written: lines of the last 0.1 s, or more on a busy machine.
UNWRITTEN_SECONDS = 5.0


class Load:
    """Clients that ask again and again over their connections."""

    def __init__(self, port: int) -> None:
        self.answered: list[tuple[str, float]] = []  # request id, and when the answer had come
        self.broken = 0  # connections that ended without being asked to
        self._port = port
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with Client(self._port) as client:
                    while not self._is_over.is_set():
                        answer = client.ask("GET", TARGET)
                        self.answered.append((str(answer.get("X-Request-Id")), time.monotonic()))
            except (OSError, AssertionError):
                self.broken += 1

    @property
    def ids(self) -> set[str]:
        return {request_id for request_id, _ in self.answered}


def settings_of(credentials, mail, **rotate):
    settings = settings_for(credentials.site, mail.url, workers=2)
    settings["access_log"] = {"path": "access.jsonl", "rotate": {"size": "64KiB", **rotate}}
    return settings


def files_of(gateway) -> list[str]:
    return sorted(each.name for each in gateway.log.path.parent.glob("access*"))


def is_settled(gateway) -> bool:
    """All rotated files are packed."""
    names = files_of(gateway)
    return names.count("access.jsonl") == 1 and all(
        name.endswith((".zst", ".gz")) for name in names if name != "access.jsonl"
    )


def count_lines(gateway) -> Counter[str]:
    """How many lines each request has in all files, as `gateway logs` reads them."""
    command = [sys.executable, "-m", "gateway", "logs", "-c", str(gateway.config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.stderr == ""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return Counter(record["request_id"] for record in records if record["uri"] == TARGET)


@pytest.mark.parametrize("compress", ["zstd", "gzip"])
def test_under_load_each_request_has_exactly_one_line(start, credentials, mail, compress):
    gateway = start(settings_of(credentials, mail, compress=compress, keep=500))
    with Load(gateway.port) as load:
        until(lambda: len(files_of(gateway)) >= 5, "it was rotated several times")
    assert load.broken == 0
    until(lambda: is_settled(gateway), "the rotated files are packed")
    until(lambda: count_lines(gateway).total() >= len(load.answered), "all lines are written")
    assert count_lines(gateway) == Counter(load.ids)
    assert len(load.ids) == len(load.answered) > 4 * LINES_PER_FILE
    assert {oct(each.stat().st_mode & 0o777) for each in gateway.log.path.parent.glob("access*")} == {"0o640"}


def test_a_worker_that_is_killed_meanwhile_loses_what_it_had_not_written_and_no_more(start, credentials, mail):
    gateway = start(settings_of(credentials, mail, keep=500))
    gateway.expected_errors.append(r"worker \d+ ended \(signal SIGKILL\)")
    killed, open_files = [], set(gateway.open_files().values())
    with Load(gateway.port) as load:
        for files in (3, 5):
            until(lambda files=files: len(files_of(gateway)) >= files, "it was rotated")
            killed.append(time.monotonic())
            os.kill(gateway.workers()[0], signal.SIGKILL)
        until(lambda: len(files_of(gateway)) >= 8, "it was rotated after that")
    until(lambda: is_settled(gateway), "the rotated files are packed")
    found = count_lines(gateway)
    assert max(found.values()) == 1
    lost = [when for request_id, when in load.answered if request_id not in found]
    assert all(any(-UNWRITTEN_SECONDS < when - at < 1 for at in killed) for when in lost)
    assert len(lost) < len(load.answered) / 2
    until(lambda: set(gateway.open_files().values()) == open_files, "the connections are closed")
    gateway.note_open_files()


def test_two_gateways_write_to_one_log_and_it_is_rotated_once(start, credentials, mail):
    one = start(settings_of(credentials, mail, keep=500))
    settings = settings_of(credentials, mail, keep=500)
    settings["access_log"]["path"] = str(one.log.path)
    other = start(settings)
    with Load(one.port) as first, Load(other.port) as second:
        until(lambda: len(files_of(one)) >= 6, "it was rotated several times")
    until(lambda: is_settled(one), "the rotated files are packed")
    expected = first.ids | second.ids
    until(lambda: count_lines(one).total() >= len(expected), "all lines are written")
    assert count_lines(one) == Counter(expected)
    told = [
        line.split("rotated to ")[1].split()[0]
        for line in (one.errors + other.errors).splitlines()
        if "rotated to" in line
    ]
    assert len(told) == len(set(told)) == len(files_of(one)) - 1


def test_only_so_many_files_are_kept_and_none_of_others_is_touched(start, credentials, mail):
    gateway = start(settings_of(credentials, mail, keep=2))
    others = [gateway.log.path.with_name(name) for name in ("access.jsonl.1", "access-20200101.jsonl.gz")]
    for other in others:
        other.write_bytes(b"")
    with Load(gateway.port):
        until(lambda: gateway.errors.count("rotated to") >= 5, "it was rotated several times")
    until(lambda: len(files_of(gateway)) == 3 + len(others) and all(map(os.path.exists, others)), "two are kept")


def test_a_signal_still_opens_another_file(start, credentials, mail):
    gateway = start(settings_of(credentials, mail))
    moved = gateway.log.path.with_name("access.jsonl.1")
    gateway.log.path.rename(moved)
    gateway.signal(signal.SIGUSR1)
    until(gateway.log.path.exists, "the new file is there")
    with Client(gateway.port) as client:
        client.ask("GET", "/webmail/after")
    until(lambda: b"/webmail/after" in gateway.log.path.read_bytes(), "lines go to the new file")
    assert files_of(gateway) == ["access.jsonl", "access.jsonl.1"]


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of half a MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a filesystem, and a container's root may not")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_no_line_and_swallows_none(start, credentials, mail, small_disk):
    settings = settings_of(credentials, mail, compress="none", keep=500, size="1MiB")
    settings["access_log"]["path"] = str(small_disk / "access.jsonl")
    gateway = start(settings)
    gateway.expected_errors.append("No space left on device; lines are kept, and writing is retried")
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(400 * 1024))
    with Load(gateway.port) as load:
        until(lambda: "No space left on device" in gateway.errors, "the disk is full")
        before = len(load.answered)
        until(lambda: len(load.answered) > before + LINES_PER_FILE, "the gateway goes on serving")
    (small_disk / "filler").unlink()
    expected = Counter(load.ids)

    def lines():
        return (small_disk / "access.jsonl").read_bytes().splitlines()

    def whole():
        return [line for line in lines() if line.startswith(b'{"time":') and line.endswith(b"}")]

    until(lambda: len(whole()) >= len(expected), "all lines are written")
    records = [json.loads(line) for line in whole()]
    assert Counter(record["request_id"] for record in records if record["uri"] == TARGET) == expected
    assert all(line.startswith(b'{"time":') for line in lines())
