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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    access_logs,
    bulk,
    bystander,
    certificates,
    floods,
    latency,
    neighbour,
    peers,
    ping_ends,
    pings,
    processes,
    report,
    transfer,
)
from bench.load import Job
from bench.report import Target
from bench.scenarios import OUTSIDE, SCENARIOS, Measurement, Scenario

_cores = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _cores[0], _cores[-1]
# What a server still has to do for requests that are answered: log lines are written within 100 ms.
SETTLE_SECONDS = 0.25
TABLE_COLUMNS = 130


class Bench:
    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder = folder
        self.arguments = arguments
        self.certificates = certificates.make(folder)
        self.pids: dict[str, int] = {}
        self.ports: dict[str, int] = {}
        self.resident = 0  # bytes, with the idle connections open

    @contextlib.contextmanager
    def servers(self, names: Sequence[str], upstream_port: int) -> Iterator[None]:
        """These servers, before an upstream that listens there."""
        with contextlib.ExitStack() as stack:
            for name in names:
                self._start(stack, name, processes.free_port(), upstream_port)
            yield

    @contextlib.contextmanager
    def files(self) -> Iterator[int]:
        """The upstream with the small files; its port."""
        port = processes.free_port()
        start = peers.upstream(peers.Place(self.folder, self.certificates, port, port))
        with processes.running(start.command, core=LOAD_CORE, port=port, output=self.folder / "upstream.out"):
            yield port

    def _start(self, stack: contextlib.ExitStack, name: str, port: int, upstream_port: int) -> None:
        start = peers.PEERS[name](peers.Place(self.folder, self.certificates, port, upstream_port))
        server = processes.running(
            start.command,
            core=SERVER_CORE,
            port=port,
            output=self.folder / f"{name}.out",
            environment=start.environment,
        )
        try:
            self.pids[name] = stack.enter_context(server)
        except processes.StartError as error:
            raise SystemExit(f"{name} did not start:\n{error}") from error
        self.ports[name] = port

    # one connection, two gigabytes

    def transfers(self) -> list[transfer.Transfer]:
        """2 GiB each way, through the servers that stream."""
        port = processes.free_port()
        command = [sys.executable, "-m", "bench.bulk", "upstream", str(port)]
        names = [name for name in self.arguments.servers if name in transfer.SERVERS]
        with (
            processes.running(command, core=LOAD_CORE, port=port, output=self.folder / "bulk.out"),
            self.servers(names, port),
        ):
            return transfer.measure(names, self.arguments.transfers, self._bulk_job, self._family, LOAD_CORE)

    def _bulk_job(self, name: str) -> bulk.Job:
        c = self.certificates
        return bulk.Job(self.ports[name], 0, False, OUTSIDE, str(c.ca), str(c.client), str(c.client_key))

    # ten thousand connections, nothing to do

    def pings(self) -> list[pings.Held]:
        """The Pings, held by one server after the other."""
        count = pings.possible()
        if count < pings.PINGS:
            print(f"{count:,} Pings instead of {pings.PINGS:,}: each takes two of the files that a worker may open")
        return [self._hold(name, count) for name in self.arguments.servers if name in pings.SERVERS]

    def _hold(self, name: str, count: int) -> pings.Held:
        port, c = processes.free_port(), self.certificates
        with (
            processes.Helper("bench.ping_ends", "upstream", str(port), core=LOAD_CORE) as upstream,
            self.servers([name], port),
        ):
            job = ping_ends.Job(self.ports[name], count, str(c.ca), str(c.client), str(c.client_key))
            place = pings.Place(name, job, lambda: self._family(name), LOAD_CORE)
            return pings.hold(place, upstream, self.arguments.ping_minutes)

    # one client against all the others

    def neighbours(self, show: Callable[[Table], None]) -> list[neighbour.Observed]:
        """A bystander beside each flood, through one server after the other."""
        port = processes.free_port()
        names = [name for name in self.arguments.servers if name in neighbour.SERVERS]
        with processes.Helper("bench.flood_upstream", str(port), core=LOAD_CORE) as upstream:
            upstream.read()
            with self.servers(names, port):
                ca = str(self.certificates.ca)
                place = neighbour.Place(self._bystander_job, ca, upstream, self._family, LOAD_CORE)
                return neighbour.measure(place, names, self.arguments.floods, show)

    def _bystander_job(self, name: str) -> bystander.Job:
        c = self.certificates
        return bystander.Job(self.ports[name], self.arguments.samples, str(c.ca), str(c.client), str(c.client_key))

    # an inbox, far away

    def inboxes(self) -> list[latency.Inbox]:
        """Webmail in a browser over a slow round trip, through one server after the other."""
        names = [name for name in self.arguments.servers if name in latency.SERVERS]
        place = latency.Latency(self.folder, self.certificates, (SERVER_CORE, LOAD_CORE))
        return place.measure(names, self.arguments.rounds)

    # many small requests

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
        with processes.Helper("bench.load", json.dumps(asdict(job)), core=LOAD_CORE) as load:
            load.read()
            time.sleep(SETTLE_SECONDS)
            family = self._family(name)  # answers have come: the workers are there
            before = processes.cpu_seconds(family)
            line = load.ask("go")
            time.sleep(SETTLE_SECONDS)
            seconds = processes.cpu_seconds(family) - before
            if is_memory:
                self.resident = processes.resident_bytes(family)
        return seconds, json.loads(line)["seconds"]


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    usual = [*(scenario.name for scenario in SCENARIOS), transfer.NAME, access_logs.NAME]
    long = [pings.NAME, neighbour.NAME, latency.NAME]
    names = [*usual, *long]
    parser.add_argument(
        "--only", default=",".join(usual), help=f"scenarios, of {', '.join(names)} (default: all but {', '.join(long)})"
    )
    parser.add_argument("--servers", default=",".join(peers.PEERS), help=f"of {', '.join(peers.PEERS)}")
    parser.add_argument("--requests", type=int, help="requests in a round, instead of each scenario's own number")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts (default 7)")
    parser.add_argument("--transfers", type=int, default=3, help="rounds of 2 GiB each way (default 3)")
    parser.add_argument(
        "--log-megabytes",
        type=float,
        default=access_logs.MEGABYTES,
        help=f"of the log that {access_logs.NAME} reads (default %(default)s)",
    )
    parser.add_argument("--log-lines", type=int, default=0, help="of a second log, such as 10000000 (default: none)")
    parser.add_argument(
        "--log-piped-lines",
        type=int,
        default=access_logs.PIPED_LINES,
        help="that are piped in, such as 100000000 (default %(default)s)",
    )
    parser.add_argument("--ping-minutes", type=float, default=pings.MINUTES, help="how long Pings wait (default 10)")
    parser.add_argument(
        "--floods",
        default=",".join(flood.name for flood in floods.FLOODS),
        help=f"floods of {neighbour.NAME} (default: %(default)s, which take 45 minutes for three servers)",
    )
    parser.add_argument(
        "--samples", type=int, default=neighbour.SAMPLES, help="requests of its bystander (default 1,000)"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable results on standard output")
    parser.add_argument("--markdown", action="store_true", help="one table for docs/performance.md")
    parser.add_argument("--keep", type=Path, help="folder to work in and keep, with configurations and logs")
    arguments = parser.parse_args(argv)
    arguments.only = arguments.only.split(",")
    arguments.servers = arguments.servers.split(",")
    arguments.floods = arguments.floods.split(",")
    known_floods = [flood.name for flood in floods.FLOODS]
    for value, known in (
        (arguments.only, names),
        (arguments.servers, list(peers.PEERS)),
        (arguments.floods, known_floods),
    ):
        if unknown := set(value) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return arguments


def main() -> None:
    arguments = arguments_of()
    if missing := peers.missing(arguments.servers):
        raise SystemExit(f"not installed: {', '.join(missing)}; install them, or name others with --servers")
    if SERVER_CORE == LOAD_CORE and set(arguments.only) - {
        pings.NAME,
        access_logs.NAME,
    }:  # in these, no load is in a server's way
        raise SystemExit("two cores are needed, one for the servers and one for the load")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ.setdefault("GATEWAY_DUMPABLE", "1")  # memory is read from /proc
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        run(Bench(folder.resolve(), arguments), arguments)


class Findings:
    """What has come out so far. Tables are shown at once, verdicts and documents at the end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.console = Console(width=max(Console().width, TABLE_COLUMNS))
        self.documents: dict[str, list[dict[str, object]]] = {"requests": []}
        self.markdown: list[str] = []
        self.targets: list[Target] = []

    def show(self, its_table: Table) -> None:
        if not (self.arguments.json or self.arguments.markdown):
            self.console.print(its_table)

    def end(self) -> None:
        if self.arguments.json:
            print(json.dumps(self.documents | {"targets": [asdict(each) for each in self.targets]}, indent=2))
        elif self.arguments.markdown:
            print("\n\n".join(self.markdown))
        elif self.targets:
            self.console.print(report.verdicts(self.targets))


def run(bench: Bench, arguments: argparse.Namespace) -> None:
    """Scenario after scenario, each with its table, and the verdicts at the end."""
    findings = Findings(arguments)
    run_small(bench, findings, [scenario for scenario in SCENARIOS if scenario.name in arguments.only])
    if transfer.NAME in arguments.only:
        transfers = bench.transfers()
        findings.documents[transfer.NAME] = [asdict(each) for each in transfers]
        findings.targets += transfer.targets(transfers)
        findings.show(transfer.table(transfers))
    if access_logs.NAME in arguments.only:
        sizes = access_logs.Sizes(arguments.log_megabytes, arguments.log_lines, arguments.log_piped_lines)
        reads = access_logs.measure(bench.folder, sizes)
        findings.documents[access_logs.NAME] = [asdict(each) for each in reads]
        findings.targets += access_logs.targets(reads)
        findings.show(access_logs.table(reads))
    if pings.NAME in arguments.only:
        held = bench.pings()
        findings.documents[pings.NAME] = [asdict(each) for each in held]
        findings.targets += pings.targets(held)
        findings.show(pings.table(held))
    if neighbour.NAME in arguments.only:
        observed = bench.neighbours(findings.show)
        findings.documents[neighbour.NAME] = [asdict(each) for each in observed]
        findings.targets += neighbour.targets(observed)
        findings.markdown.append(neighbour.markdown(observed))
    if latency.NAME in arguments.only:
        inboxes = bench.inboxes()
        findings.documents[latency.NAME] = [asdict(each) for each in inboxes]
        findings.targets += latency.targets(inboxes)
        findings.show(latency.table(inboxes))
        findings.markdown.append(latency.markdown(inboxes))
    findings.end()


def run_small(bench: Bench, findings: Findings, scenarios: Sequence[Scenario]) -> None:
    """Many small requests, and idle connections."""
    if not scenarios:
        return
    arguments = bench.arguments
    measurements: list[Measurement] = []
    with bench.files() as port, bench.servers(arguments.servers, port):
        for scenario in scenarios:
            requests = 0 if scenario.is_memory else arguments.requests or scenario.requests
            measured = bench.measure(replace(scenario, requests=requests))
            measurements += measured
            findings.targets += report.targets_of(scenario, measured)
            findings.show(report.table(scenario, measured))
    findings.documents["requests"] = [asdict(each) for each in measurements]
    findings.markdown.append(report.markdown(measurements))


if __name__ == "__main__":
    main()
