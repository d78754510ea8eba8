"""The real gateway as a process of its own: `python -m gateway run`, on loopback.

    gateway = Gateway.start(folder, settings)     # settings: the configuration file as a dict
    gateway.log.of(request_id)                    # that request's one record
    gateway.stop()                                # SIGTERM; its exit code

127.0.0.1 is inside, every other 127.x.y.z is outside, in the settings that `settings_for` makes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.waiting import PATIENCE_SECONDS, until

from gateway.logs.record import KEYS

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
HOST = "mail.example.com"
START_SECONDS = 60.0
STOP_SECONDS = 25.0  # less than the time that connections have to finish: nobody is ended by force
SETTLED_POLLS = 5
ESTABLISHED, CLOSE_WAIT, LISTEN = "01", "08", "0A"  # states in /proc/net/tcp

RULES = [
    {"name": "Nobody administers from here", "uri": ["/webmail/admin"], "action": "deny"},
    {"name": "Inside no certificate is needed", "from": "internal", "action": "allow"},
    {
        "name": "Webmail and ActiveSync from outside",
        "from": "external",
        "uri": ["/webmail", "/Microsoft-Server-ActiveSync"],
        "action": "require_certificate",
    },
    {"name": "Everything else", "action": "deny"},
]


# Below the kernel's range for outgoing connections, one of which could take a port before its server listens. Each of
# the processes that share the suite (pytest-xdist names and counts them) has a part to itself.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(10_000 + _PROCESS, 30_000, _PROCESSES)
_left = random.sample(PORTS, len(PORTS))


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago, and that was not given out before."""
    while _left:
        port = _left.pop()
        with socket.socket() as probe:
            try:
                probe.bind((INSIDE, port))
            except OSError:
                continue
        return port
    pytest.fail(f"no port from {PORTS.start} to {PORTS.stop} is free")


def settings_for(site: dict[str, Any], upstream: str, **more: Any) -> dict[str, Any]:
    """A whole file for one site; `upstream` is a server's URL, `more` replaces or adds top-level keys."""
    return {
        "listen": [{"address": f"{INSIDE}:{free_port()}"}],
        "networks": {"internal": [f"{INSIDE}/32"]},
        "sites": [{"hosts": [HOST], "upstream": "mail", **site}],
        "upstreams": {"mail": {"servers": [upstream]}},
        "rules": RULES,
        "workers": 1,
        "access_log": {"path": "access.jsonl"},
        **more,
    }


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


class AccessLog:
    """Reads what a gateway has logged so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self._records: list[dict[str, Any]] = []
        self._last_line = b""  # of those that are in `_records`
        self._end = 0  # where it ends in the file

    def records(self) -> list[dict[str, Any]]:
        """Every record; each line must be JSON, and have all the keys in their order.

        What was read before is not read again, unless the file is another one now.
        """
        data = self._new_data()
        # Who reads while it is written may see half of a write.
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            record = json.loads(line)
            assert tuple(record) == KEYS
            assert (record["reason"] is None) == (record["detail"] is None), record
            self._records.append(record)
            self._last_line = line
            self._end += len(line)
        return [record.copy() for record in self._records]  # a test may take a record apart

    def _new_data(self) -> bytes:
        """What stands behind the last line that was read, or all there is if that line is no longer where it was."""
        if not self.path.exists():
            self._forget()
            return b""
        with self.path.open("rb") as file:
            file.seek(self._end - len(self._last_line))
            if file.read(len(self._last_line)) != self._last_line:
                self._forget()
                file.seek(0)
            return file.read()

    @property
    def is_whole(self) -> bool:
        """True when the last line has its end, as it must when the gateway has stopped."""
        self.records()
        return not self._new_data()

    def of(self, request_id: str) -> dict[str, Any]:
        """The one record of a request."""

        def find() -> list[dict[str, Any]]:
            return [record for record in self.records() if record["request_id"] == request_id]

        found = until(find, f"a record of request {request_id}")
        assert len(found) == 1
        return found[0]

    def of_address(self, address: str, count: int = 1) -> list[dict[str, Any]]:
        """All records of a client address, as soon as there are `count` of them; more is a failure."""

        def find() -> list[dict[str, Any]]:
            found = [record for record in self.records() if record["client_ip"] == address]
            return found if len(found) >= count else []

        found = until(find, f"{count} records of {address}")
        assert len(found) == count, found
        return found


class Gateway:
    """One running gateway."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = settings
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False))
        self._errors = folder / "stderr.txt"
        self.log = AccessLog(folder / "access.jsonl")
        self._baseline: dict[int, int] = {}
        self.expected_errors: list[str] = []  # regular expressions of lines that tests bring about
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    @classmethod
    def start(cls, folder: Path, settings: dict[str, Any]) -> Gateway:
        """A gateway that serves; fails with its own words when it doesn't."""
        made = cls(folder, settings)
        try:
            until(made._serves, "the gateway serves", seconds=START_SECONDS)
        except BaseException:
            made.kill()
            raise
        made.note_open_files()
        return made

    def _serves(self) -> bool:
        assert self.process.poll() is None, self.errors
        is_listening = "serving on" in self.errors and all(map(self._answers, self.settings["listen"]))
        return is_listening and self._are_workers_alike()

    @staticmethod
    def _answers(listener: dict[str, Any]) -> bool:
        """Whoever is connected to is a worker only once it answers."""
        port = int(listener["address"].rpartition(":")[2])
        with socket.create_connection((INSIDE, port), timeout=PATIENCE_SECONDS) as probe:
            if "proxy_protocol_from" in listener:
                probe.sendall(b"PROXY UNKNOWN\r\n")
            probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(probe.recv(1))

    def _are_workers_alike(self) -> bool:
        # One that is still starting has no loop yet, and so fewer descriptors.
        workers = self.workers()
        return len(workers) == self.settings["workers"] and len(set(self.open_files().values())) == 1

    @property
    def ports(self) -> list[int]:
        return [int(listener["address"].rpartition(":")[2]) for listener in self.settings["listen"]]

    @property
    def port(self) -> int:
        """The first listener's."""
        return self.ports[0]

    @property
    def errors(self) -> str:
        """What it wrote to standard error so far."""
        return self._errors.read_text()

    def says(self, text: str) -> None:
        """Wait until it has written this to standard error: often it answers first."""
        until(lambda: text in self.errors, f"{text!r} in standard error")

    def workers(self) -> list[int]:
        """The worker processes' ids: not those of helpers, also while a program of its own has not named itself yet."""
        unnamed = [pid for pid, name in self._children() if not name.startswith("gateway-")]
        return [pid for pid in unnamed if b"gateway.supervisor." not in _command_line(pid)]

    def helpers(self, name: str) -> list[int]:
        """The ids of the processes beside the workers that call themselves so."""
        return [pid for pid, its_name in self._children() if its_name == name]

    def _children(self) -> list[tuple[int, str]]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = []
        for pid in children.read_text().split():
            try:
                found.append((int(pid), Path(f"/proc/{pid}/comm").read_text().strip()))
            except OSError:
                continue
        return found

    def open_files(self) -> dict[int, int]:
        """Worker → number of its open file descriptors; a worker that is just ending isn't listed."""
        found = {}
        for pid in self.workers():
            try:
                found[pid] = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            except OSError:
                continue
        return found

    def note_open_files(self) -> None:
        """From now on this many open files are the normal state: with no connection open, so the fewest seen."""
        seen: list[dict[int, int]] = []

        def is_settled() -> bool:
            # However long a worker on a busy machine takes to close the connection of `_answers`.
            if self._has_connections():
                seen.clear()
                return False
            seen.append(self.open_files())
            # A helper process that has not become a program of its own yet looks like one worker more.
            is_complete = len(seen[-1]) == self.settings["workers"]
            return (
                is_complete and len(seen) >= SETTLED_POLLS and all(each == seen[-1] for each in seen[-SETTLED_POLLS:])
            )

        until(is_settled, "the workers have closed the first connections")
        self._baseline = seen[-1]

    def _has_connections(self) -> bool:
        """Whether a process has a connection of a listener, or one waits to be accepted."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            is_waiting = state in (ESTABLISHED, CLOSE_WAIT)  # has no inode before it is accepted
            if int(local.rpartition(":")[2], 16) in self.ports and state != LISTEN and (inode != "0" or is_waiting):
                return True
        return False

    def check_open_files(self) -> None:
        """Every worker comes back to as many open files as it had."""
        try:
            until(lambda: self.open_files() == self._baseline, f"workers have {self._baseline} files open again")
        except AssertionError as error:
            raise AssertionError(f"{error}; open are {self._named_files()}") from None

    def _named_files(self) -> dict[int, list[str]]:
        """What each worker has open, as /proc names it."""
        found: dict[int, list[str]] = {}
        for pid in self.workers():
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    found.setdefault(pid, []).append(str(file.readlink()))
        return found

    def resident_bytes(self) -> int:
        """Memory of all workers together."""
        total = 0
        for pid in self.workers():
            status = Path(f"/proc/{pid}/status").read_text()
            total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024
        return total

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """The last resort: the master is gone, and its workers follow."""
        self.process.kill()
        self.process.wait()

    def check_errors(self) -> None:
        """Nothing unexpected was ever reported."""
        assert "Traceback" not in self.errors
        assert "Exception ignored" not in self.errors
        failures = [line for line in self.errors.splitlines() if " ERROR " in line]
        unexpected = [line for line in failures if not any(re.search(each, line) for each in self.expected_errors)]
        assert not unexpected, unexpected
