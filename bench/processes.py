"""Starts servers pinned to a core and reads what they cost from the kernel's own accounting of their processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

STOP_SECONDS = 5.0
READY_SECONDS = 20.0
POLL_SECONDS = 0.02


class StartError(Exception):
    """A server did not start to listen; the text is the end of its output."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    core: int,
    port: int,
    output: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Start a server on one core, wait until it listens, yield its pid, and end it and its children."""
    with output.open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        _wait_until_listening(process, port, output)
        yield process.pid
    finally:
        _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(POLL_SECONDS)
    raise StartError(output.read_text(errors="replace")[-2000:].strip() or "no output")


def _stop(process: subprocess.Popen[bytes]) -> None:
    family = descendants(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in [*family, process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)


def descendants(pid: int) -> list[int]:
    """The process's children and theirs, found through every process's parent."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The second field, the name in brackets, may hold blanks and brackets itself.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of the processes, user and system, all their threads, the ended ones too; to the nanosecond.

    The clock of another process is what clock_getcpuclockid(3) computes: the inverted pid, shifted by three, and 2
    for the scheduler's own accounting.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_bytes(pids: Sequence[int]) -> int:
    """Resident memory; a page that several processes share is counted once, in parts (PSS)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def own_bytes(pid: int) -> int:
    """Resident memory of one process, shared pages counted whole (RSS)."""
    return _status_kib(pid, "VmRSS") * 1024


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process had, since its start or since `forget_peak`."""
    return _status_kib(pid, "VmHWM") * 1024


def forget_peak(pid: int) -> None:
    """Begin the peak anew, at what is resident now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise StartError(f"process {pid} has no {key}: it has ended")


class Helper:
    """A helper process that is told things, and answers, a line each."""

    def __init__(self, module: str, *arguments: str, core: int) -> None:
        command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", module, *arguments]
        self.module = module
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Its input ends, and with it the helper."""
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate("", timeout=STOP_SECONDS)

    def read(self) -> str:
        if self.process.stdout is None:
            raise TypeError("a helper needs pipes")
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.module} failed; its own message is above")
        return line.rstrip("\n")

    def tell(self, command: str) -> None:
        if self.process.stdin is None:
            raise TypeError("a helper needs pipes")
        print(command, file=self.process.stdin, flush=True)

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.read()
