"""`python -m bench`: CPU time a request, and memory an idle connection, of the gateway and its peers.

Servers share one core, one at a time being asked; load generator and upstream have another. The rounds of all servers
are short and interleaved, and the median counts, so that whatever else the machine does falls on everybody.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import certificates, peers, processes
from bench.load import Job

SERVER_CORE, LOAD_CORE = 0, 1
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
# What a server still has to do for requests that are answered: log lines are written within 100 ms.
SETTLE_SECONDS = 0.25
IDLE_CONNECTIONS = 1000
TABLE_COLUMNS = 130


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    path: str
    source: str = OUTSIDE
    tls: str = "1.3"
    shows_certificate: bool = True
    requests: int = 6_000
    connections: int = 32
    is_new_connection_each: bool = False
    is_varied: bool = False
    is_memory: bool = False
    nginx_ratio: float | None = None  # at most
    aiohttp_ratio: float | None = None  # at most
    bytes_at_most: int | None = None


SCENARIOS = [
    Scenario("1k", "1 KiB, keep-alive, client certificate", "1k", nginx_ratio=2.5, aiohttp_ratio=1 / 3),
    Scenario("1k-inside", "1 KiB, keep-alive, from inside without", "1k", source=INSIDE, shows_certificate=False,
             nginx_ratio=2.5, aiohttp_ratio=1 / 3),
    Scenario("1k-varied", "1 KiB, keep-alive, client certificate, each URI another", "1k", is_varied=True,
             nginx_ratio=2.5, aiohttp_ratio=1 / 3),
    Scenario("64k", "64 KiB, keep-alive, client certificate", "64k", requests=3_000, nginx_ratio=1.6),
    Scenario("handshake", "full mutual TLS 1.3 handshake + 1 request", "1k", requests=400, connections=8,
             is_new_connection_each=True, nginx_ratio=1.2),
    Scenario("handshake-1.2", "full mutual TLS 1.2 handshake + 1 request", "1k", tls="1.2", requests=400, connections=8,
             is_new_connection_each=True),
    Scenario("idle", "idle keep-alive connection, KiB", "1k", requests=0, connections=IDLE_CONNECTIONS, is_memory=True,
             bytes_at_most=60 * 1024),
]  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    scenario: str
    server: str
    value: float  # µs of CPU a request, or KiB a connection: the rounds' median
    rounds: list[float]
    requests_per_second: float | None

    def ratio(self, other: Measurement) -> float:
        """The median of this server's cost by the other's in the same round: slow phases of the machine cancel out."""
        return statistics.median(mine / its for mine, its in zip(self.rounds, other.rounds, strict=True))


class Bench:
    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder = folder
        self.arguments = arguments
        self.certificates = certificates.make(folder)
        self.pids: dict[str, int] = {}
        self.ports: dict[str, int] = {}
        self.resident = 0  # bytes, with the idle connections open

    @contextlib.contextmanager
    def servers(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            upstream_port = processes.free_port()
            self._start(stack, "upstream", upstream_port, upstream_port, LOAD_CORE)
            for name in self.arguments.servers:
                self._start(stack, name, processes.free_port(), upstream_port, SERVER_CORE)
            yield

    def _start(self, stack: contextlib.ExitStack, name: str, port: int, upstream_port: int, core: int) -> None:
        place = peers.Place(self.folder, self.certificates, port, upstream_port)
        start = peers.upstream(place) if name == "upstream" else peers.PEERS[name](place)
        server = processes.running(
            start.command,
            core=core,
            port=port,
            output=self.folder / f"{name}.out",
            environment=start.environment,
        )
        try:
            self.pids[name] = stack.enter_context(server)
        except processes.StartError as error:
            raise SystemExit(f"{name} did not start:\n{error}") from error
        self.ports[name] = port

    def measure(self, scenario: Scenario) -> list[Measurement]:
        values: dict[str, list[float]] = {name: [] for name in self.arguments.servers}
        rates: dict[str, list[float]] = {name: [] for name in self.arguments.servers}
        for _ in range(1 if scenario.is_memory else self.arguments.rounds):
            for name in self.arguments.servers:
                value, rate = self._round(scenario, name)
                values[name].append(value)
                if rate:
                    rates[name].append(rate)
        return [
            Measurement(
                scenario.name,
                name,
                statistics.median(rounds),
                rounds,
                statistics.median(rates[name]) if rates[name] else None,
            )
            for name, rounds in values.items()
        ]

    def _round(self, scenario: Scenario, name: str) -> tuple[float, float | None]:
        job = self._job(scenario, name)
        if scenario.is_memory:
            # What is allocated once, for the first connections, is not a connection's own.
            self._load(replace(job, connections=32), name)
            before = processes.resident_bytes(self._family(name))
            self._load(job, name, is_memory=True)
            return (self.resident - before) / scenario.connections / 1024, None
        seconds, wall = self._load(job, name)
        return seconds / scenario.requests * 1e6, scenario.requests / wall

    def _family(self, name: str) -> list[int]:
        return [self.pids[name], *processes.descendants(self.pids[name])]

    def _job(self, scenario: Scenario, name: str) -> Job:
        path, size = peers.PATHS[scenario.path]
        c = self.certificates
        return Job(
            port=self.ports[name],
            path=path,
            body_bytes=size,
            source=scenario.source,
            ca=str(c.ca),
            client=str(c.client) if scenario.shows_certificate else None,
            client_key=str(c.client_key) if scenario.shows_certificate else None,
            tls=scenario.tls,
            connections=scenario.connections,
            requests=scenario.requests,
            warm_up=0 if scenario.is_memory else max(scenario.requests // 10, scenario.connections),
            is_new_connection_each=scenario.is_new_connection_each,
            is_varied=scenario.is_varied,
        )

    def _load(self, job: Job, name: str, *, is_memory: bool = False) -> tuple[float, float]:
        """Run one load: the CPU seconds that it cost the server, and the seconds that it took."""
        command = ["taskset", "--cpu-list", str(LOAD_CORE), sys.executable, "-m", "bench.load", json.dumps(asdict(job))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            self._answer(load)
            time.sleep(SETTLE_SECONDS)
            family = self._family(name)  # answers have come: the workers are there
            before = processes.cpu_seconds(family)
            line = self._answer(load, "go")
            time.sleep(SETTLE_SECONDS)
            seconds = processes.cpu_seconds(family) - before
            if is_memory:
                self.resident = processes.resident_bytes(family)
            load.communicate("")
        return seconds, json.loads(line)["seconds"]

    @staticmethod
    def _answer(load: subprocess.Popen[str], command: str | None = None) -> str:
        if load.stdin is None or load.stdout is None:
            raise TypeError("the load generator needs pipes")
        if command:
            print(command, file=load.stdin, flush=True)
        line = load.stdout.readline()
        if not line:
            raise SystemExit("the load generator failed; its own message is above")
        return line


def table(scenario: Scenario, measurements: Sequence[Measurement]) -> Table:
    unit = "KiB" if scenario.is_memory else "µs CPU"
    result = Table(title=scenario.title, title_justify="left")
    for column in ("server", unit, "lowest … highest", "requests/s", "÷ nginx", "÷ aiohttp", "at most"):
        result.add_column(column, justify="left" if column in ("server", "at most") else "right", no_wrap=True)
    of = {m.server: m for m in measurements}
    for m in measurements:
        by_nginx = m.ratio(of["nginx"]) if "nginx" in of else None
        by_aiohttp = m.ratio(of["aiohttp"]) if "aiohttp" in of else None
        result.add_row(
            m.server,
            f"{m.value:.1f}",
            f"{min(m.rounds):.0f} … {max(m.rounds):.0f}",
            f"{m.requests_per_second:.0f}" if m.requests_per_second else "",
            f"{by_nginx:.2f}" if by_nginx else "",
            f"{by_aiohttp:.2f}" if by_aiohttp else "",
            _thresholds(scenario, m.value, by_nginx, by_aiohttp) if m.server == "gateway" else "",
        )
    return result


def _thresholds(scenario: Scenario, value: float, by_nginx: float | None, by_aiohttp: float | None) -> str:
    checks = [
        (scenario.nginx_ratio, by_nginx, "{:.1f} × nginx"),
        (scenario.aiohttp_ratio, by_aiohttp, "{:.2f} × aiohttp"),
        (scenario.bytes_at_most and scenario.bytes_at_most / 1024, value, "{:.0f} KiB"),
    ]
    return ", ".join(
        f"{text.format(limit)} {'kept' if measured <= limit else 'MISSED'}"
        for limit, measured, text in checks
        if limit is not None and measured is not None
    )


def markdown(measurements: Sequence[Measurement]) -> str:
    """A row for each scenario and a column for each server, with the ratio to nginx where there is one."""
    servers = list(dict.fromkeys(m.server for m in measurements))
    lines = [f"| | {' | '.join(servers)} |", "|---" * (len(servers) + 1) + "|"]
    for scenario in SCENARIOS:
        of = {m.server: m for m in measurements if m.scenario == scenario.name}
        if of:
            unit = "" if scenario.is_memory else ", µs"
            cells = [
                f"{of[server].value:.0f}"
                + (f" ({of[server].ratio(of['nginx']):.2f} ×)" if "nginx" in of and server != "nginx" else "")
                for server in servers
            ]
            lines.append(f"| {scenario.title}{unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", default=",".join(names), help=f"scenarios, of {', '.join(names)}")
    parser.add_argument("--servers", default=",".join(peers.PEERS), help=f"of {', '.join(peers.PEERS)}")
    parser.add_argument("--requests", type=int, help="requests in a round, instead of each scenario's own number")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts (default 7)")
    parser.add_argument("--json", action="store_true", help="machine-readable results on standard output")
    parser.add_argument("--markdown", action="store_true", help="one table for docs/performance.md")
    parser.add_argument("--keep", type=Path, help="folder to work in and keep, with configurations and logs")
    arguments = parser.parse_args(argv)
    arguments.only = arguments.only.split(",")
    arguments.servers = arguments.servers.split(",")
    for value, known in ((arguments.only, names), (arguments.servers, list(peers.PEERS))):
        if unknown := set(value) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return arguments


def main() -> None:
    arguments = arguments_of()
    if missing := peers.missing(arguments.servers):
        raise SystemExit(f"not installed: {', '.join(missing)}; install them, or name others with --servers")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed, one for the servers and one for the load")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder.resolve(), arguments)
        stack.enter_context(bench.servers())
        measurements: list[Measurement] = []
        for scenario in SCENARIOS:
            if scenario.name in arguments.only:
                chosen = (
                    replace(scenario, requests=arguments.requests or scenario.requests)
                    if not scenario.is_memory
                    else scenario
                )
                measured = bench.measure(chosen)
                measurements += measured
                if not (arguments.json or arguments.markdown):
                    Console(width=max(Console().width, TABLE_COLUMNS)).print(table(chosen, measured))
        if arguments.markdown:
            print(markdown(measurements))
        if arguments.json:
            print(json.dumps([asdict(m) for m in measurements], indent=2))


if __name__ == "__main__":
    main()
