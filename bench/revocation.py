"""`python -m bench.revocation`: how soon `gateway cert revoke` bites on what a running gateway has open.

Each person has two connections, both made with their certificate: one asks again and again, on the other an ActiveSync
Ping waits. Then the administrator revokes them, one after the other: on a quiet gateway, and beside what could hold
revocations up. Time counts, so measure on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import psycopg
import yaml
from rich.console import Console
from rich.table import Table

from bench import certificates
from bench.certificates import HOST
from bench.processes import free_port, running
from bench.revocation_ends import PING, WAIT_SECONDS, WEBMAIL, Connection, MailServer, MailServers, flood, poisoned_url

PASSPHRASE = "of the benchmark's authority"  # noqa: S105 - of a folder that is deleted a minute later
# Of each worker that the flood meets: so few that it takes all of them.
FLOODED_FILES = 256
CASES = {
    "plain": "nothing else",
    "broken": "another site's certificate was broken",
    "flood": "a flood holds all files that workers may open",
    "poisoned": "a poisoned list at a URL",
    "nodes": "revoked at another machine (PostgreSQL)",
}


@dataclass
class Bites:
    """Seconds until connections of one kind were refused; below zero where the command had not ended yet."""

    since_written: list[float] = field(default_factory=list)
    since_end: list[float] = field(default_factory=list)

    def note(self, refused: float, written: float, end: float) -> None:
        self.since_written.append(refused - written)
        self.since_end.append(refused - end)

    @property
    def cells(self) -> Iterator[str]:
        for seconds in (self.since_written, self.since_end):
            for value in (statistics.median(seconds), max(seconds)):
                yield f"{value * 1000:.0f}"


@dataclass(frozen=True)
class Place:
    """The desk, where people are revoked, and the gateway that serves them: on one machine, or on two."""

    desk: Path
    home: Path
    port: int
    admin: int
    store: str

    def run(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.desk,
            env={**os.environ, "GATEWAY_CA_PASSPHRASE": PASSPHRASE, "GATEWAY_PKI_STORE": self.store},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def state(self) -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/status", timeout=WAIT_SECONDS) as answer:
            return dict(json.load(answer))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.revocation", description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=20, help="people to revoke in each case (default: %(default)s)")
    parser.add_argument("--only", default=",".join(CASES), help="cases (default: %(default)s)")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(CASES):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(CASES)}")
    upstream = MailServers(("127.0.0.1", 0), MailServer)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    table = Table(title="ms until a revoked certificate is refused")
    for column in ("", "connection", "number", "after the list", "the last", "after the command's end", "the last"):
        table.add_column(column, justify="left" if column in {"", "connection"} else "right")
    for case in chosen:
        for kind, bites in measure(case, options.people, upstream.server_port).items():
            table.add_row(CASES[case], kind, str(len(bites.since_end)), *bites.cells)
    MailServer.over.set()
    Console(width=140).print(table)


def measure(case: str, number: int, upstream_port: int) -> dict[str, Bites]:
    """One case: so many people, one after the other."""
    people = [f"user{each}" for each in range(number)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        place = stack.enter_context(two_machines(folder)) if case == "nodes" else one_machine(folder)
        place.run("ca", "init", "bench", "--key", "ecdsa-p256")
        for person in people:
            place.run("cert", "issue", f"{person}@example.com", "--ca", "bench", "--key", "ecdsa-p256", "--out", person)
        more_lists = [stack.enter_context(poisoned_url())] if case == "poisoned" else []
        config = configure(place, upstream_port, more_lists)
        command = [sys.executable, "-m", "gateway", "run", "-c", str(config)]
        if case == "flood":
            command = ["prlimit", f"--nofile={FLOODED_FILES}:{FLOODED_FILES}", *command]
        stack.enter_context(running(command, core=0, port=place.port, output=folder / "gateway.log"))
        if case == "nodes":
            wait_until(lambda: is_told(place), "the other machine is told of new lists")
        connected = [Person(place, person) for person in people]
        if case == "broken":
            (place.home / "second.pem").write_text("no certificate")
        if case == "flood":
            stack.enter_context(flood(place.port))
            wait_until(lambda: has_no_file_left(place), "the flood takes every file")
        asking, waiting = Bites(), Bites()
        for person in connected:
            person.revoke(asking, waiting)
    return {"asks again": asking, "a Ping waits": waiting}


class Person:
    """Somebody with a Ping that waits, and a connection that asks until it is refused."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name
        self._connections = {path: Connection(place.desk, name, place.port) for path in (WEBMAIL, PING)}
        if self._connections[WEBMAIL].ask(WEBMAIL) != HTTPStatus.OK:
            raise SystemExit(f"{name} does not get in")
        self._threads = {
            path: threading.Thread(target=each.ask_until_refused, args=(path,), daemon=True)
            for path, each in self._connections.items()
        }
        self._threads[PING].start()

    def revoke(self, asking: Bites, waiting: Bites) -> None:
        """Revoke them, and note how long their two connections were served."""
        self._threads[WEBMAIL].start()
        self._place.run("cert", "revoke", f"{self._name}@example.com", "--reason", "key-compromise")
        end = time.time()
        for thread in self._threads.values():
            thread.join(WAIT_SECONDS)
        written = (self._place.desk / "pki/bench/bench.crl").stat().st_mtime
        for path, bites in ((WEBMAIL, asking), (PING, waiting)):
            if not self._connections[path].refused:
                raise SystemExit(f"{self._name} was not refused on {path}")
            bites.note(self._connections[path].refused, written, end)


def one_machine(folder: Path) -> Place:
    return Place(folder, folder, free_port(), free_port(), f"sqlite:///{folder}/pki/registry.db")


@contextlib.contextmanager
def two_machines(folder: Path) -> Iterator[Place]:
    """A desk on one, a gateway on the other; both have the registry in one PostgreSQL."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the throw-away server is
    from support import postgres  # noqa: PLC0415 - found since the line above

    desk, home = folder / "one", folder / "two"
    (home / "pki/bench").mkdir(parents=True)
    desk.mkdir()
    with postgres.cluster() as template:
        plain = template.format(database="postgres").replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE DATABASE registry")
        yield Place(desk, home, free_port(), free_port(), template.format(database="registry"))


def is_told(place: Place) -> bool:
    registry = place.state()["registry"]
    return isinstance(registry, dict) and bool((registry["notifications"] or {}).get("is_up"))


def has_no_file_left(place: Place) -> bool:
    workers = place.state()["workers"]
    return isinstance(workers, list) and all(each["open_files"] >= FLOODED_FILES for each in workers)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"it did not happen that {what}")
        time.sleep(0.1)


def configure(place: Place, upstream_port: int, more_lists: list[str]) -> Path:
    server = certificates.make(place.desk)
    second = place.home / "second.pem", place.home / "second-key.pem"
    for file, source in zip(second, (server.server, server.server_key), strict=True):
        file.write_bytes(source.read_bytes())
        file.chmod(0o600)
    for name in ("bench.crt", "bench.crl"):  # of another machine: brought there once, with the configuration
        target = place.home / "pki/bench" / name
        if not target.exists():
            target.write_bytes((place.desk / "pki/bench" / name).read_bytes())
    site = {
        "hosts": [HOST],
        "certificate": str(server.server),
        "key": str(server.server_key),
        "client_ca": ["pki/bench/bench.crt"],
        "crl": ["pki/bench/bench.crl", *more_lists],
        "upstream": "mail",
    }
    other = {"hosts": ["second.example.com"], "certificate": str(second[0]), "key": str(second[1]), "upstream": "mail"}
    settings = {
        "listen": [{"address": f"127.0.0.1:{place.port}"}],
        "sites": [site, other],
        "upstreams": {"mail": {"servers": [f"http://127.0.0.1:{upstream_port}"]}},
        "rules": [{"name": "With a certificate", "hosts": [HOST], "action": "require_certificate"}],
        "pki": {"store": place.store, "folder": "pki", "warn": {"before": ["1d"]}},
        "access_log": {"path": "access.jsonl"},
        "admin": {"address": f"127.0.0.1:{place.admin}"},
        "workers": 2,
    }
    config = place.home / "gateway.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config


if __name__ == "__main__":
    main()
