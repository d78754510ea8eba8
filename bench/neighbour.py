"""The hostile neighbour: how long a bystander waits while one client floods the same worker.

The bystander asks on new connections and on kept ones, at fixed times; the flood is paced at 10 and at 100 Mbit/s, or
as much as the server takes. Flood, bystander and upstream share the load's core, where the flood has the lowest
priority. The servers take turns at each flood, so that they meet the same machine.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Table

from bench import bystander, floods, processes
from bench.floods import FLOODS, Flood
from bench.processes import Helper
from bench.report import Target

NAME = "neighbour"
SERVERS = ("nginx", "haproxy", "gateway")
SAMPLES = 1_000
MBIT_PER_SECOND = (10, 100)
NGINX_RATIO = 3.0
# Over HTTP/2 the other servers are not measured: the bystander's median, in ratio to its median without a flood.
QUIET_RATIO = 2.0
WORST_MS = 200.0
# From the flood's first byte until it has filled what it can fill.
BEGIN_SECONDS = 1.0
QUIET = "no flood"
KINDS = {"new": "new connections", "kept": "kept connections"}


@dataclass(frozen=True)
class Waits:
    """How long a bystander waited, in ms."""

    p50: float
    p99: float
    worst: float
    samples: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waits:
        ordered = sorted(seconds)

        def quantile(part: float) -> float:
            return ordered[math.ceil(part * len(ordered)) - 1] * 1000

        return cls(quantile(0.5), quantile(0.99), ordered[-1] * 1000, len(ordered))

    @property
    def cell(self) -> str:
        return " / ".join(f"{each:.1f}" if each < 10 else f"{each:,.0f}" for each in (self.p50, self.p99, self.worst))


@dataclass(frozen=True)
class Observed:
    flood: str  # its title
    mbit_per_second: int  # aimed at; 0 without a flood
    server: str
    taken: float  # Mbit a second
    connections: int  # that the flood needed
    new: Waits
    kept: Waits
    failed: int  # of the bystander's requests, those without an answer too
    cpu: float  # of the server, in cores
    grown_mib: float  # the most that the server's memory grew by

    @property
    def title(self) -> str:
        return f"{self.flood}, {self.mbit_per_second} Mbit/s" if self.mbit_per_second else self.flood


class Cost:
    """What a server's processes take from now on."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._cpu = processes.cpu_seconds(pids)
        self._own = {pid: processes.own_bytes(pid) for pid in pids}
        for pid in pids:
            processes.forget_peak(pid)

    @property
    def cores(self) -> float:
        return (processes.cpu_seconds(self._pids) - self._cpu) / (time.monotonic() - self._began)

    @property
    def grown_mib(self) -> float:
        return sum(max(0, processes.peak_bytes(pid) - own) for pid, own in self._own.items()) / 2**20


@dataclass(frozen=True)
class Place:
    """Where the clients are, and which servers they ask."""

    bystander: Callable[[str], bystander.Job]  # for a server
    ca: str
    upstream: Helper
    family: Callable[[str], list[int]]  # a server's processes
    core: int

    def observe(self, server: str, flood: Flood | None, mbit_per_second: int) -> Observed:
        cost = Cost(self.family(server))
        observed = self._observe(server, flood, mbit_per_second)
        return replace(observed, cpu=cost.cores, grown_mib=cost.grown_mib)

    def _observe(self, server: str, flood: Flood | None, mbit_per_second: int) -> Observed:
        job = self.bystander(server)
        if flood is None:
            return self._observed(QUIET, 0, server, self._ask(job, None), {"sent": 0, "connections": 0, "seconds": 1.0})
        attack = json.dumps(asdict(floods.Job(job.port, flood.name, mbit_per_second, self.ca)))
        with Helper("bench.floods", attack, core=self.core) as attacker:
            attacker.read()
            before = int(self.upstream.ask("count"))
            found = self._ask(job, attacker)
            took = json.loads(attacker.ask("stop"))
        if flood.is_upstreams:
            took["sent"] = int(self.upstream.ask("count")) - before
        return self._observed(flood.title, mbit_per_second, server, found, took)

    def _ask(self, job: bystander.Job, attacker: Helper | None) -> dict[str, Any]:
        """What the bystander sees; its kept connections are there before the flood."""
        with Helper("bench.bystander", json.dumps(asdict(job)), core=self.core) as waiting:
            waiting.read()
            if attacker is not None:
                attacker.tell("go")
                time.sleep(BEGIN_SECONDS)
            found: dict[str, Any] = json.loads(waiting.ask("go"))
        return found

    @staticmethod
    def _observed(
        title: str, mbit_per_second: int, server: str, found: dict[str, Any], took: dict[str, float]
    ) -> Observed:
        return Observed(
            title,
            mbit_per_second,
            server,
            took["sent"] * 8 / 1e6 / took["seconds"],
            int(took["connections"]),
            Waits.of(found["new"]),
            Waits.of(found["kept"]),
            found["failed"],
            0.0,
            0.0,
        )


def may_meet(flood: Flood, server: str) -> bool:
    """True if the server, as it is set up, speaks the flood's protocol."""
    return flood.piece is None or server == "gateway"


def measure(
    place: Place, servers: Sequence[str], names: Sequence[str], show: Callable[[Table], None]
) -> list[Observed]:
    """The machine's own waits first, then each flood, each time one server after the other."""
    chosen: list[tuple[Flood | None, int]] = [(None, 0)]
    chosen += [(flood, mbit) for flood in FLOODS if flood.name in names for mbit in MBIT_PER_SECOND]
    observed = []
    for flood, mbit in chosen:
        rows = [place.observe(server, flood, mbit) for server in servers if flood is None or may_meet(flood, server)]
        if rows:
            show(table(rows))
        observed += rows
    return observed


def table(observed: Sequence[Observed]) -> Table:
    result = Table(title=observed[0].title, title_justify="left")
    columns = (
        "server",
        "Mbit/s",
        "flood's conn.",
        "new: p50 / p99 / worst ms",
        "kept: p50 / p99 / worst ms",
        "samples",
        "failed",
        "CPU",
        "MiB more",
    )
    for column in columns:
        result.add_column(column, justify="left" if column == "server" else "right", no_wrap=True)
    for each in observed:
        result.add_row(
            each.server,
            f"{each.taken:.1f}",
            str(each.connections),
            each.new.cell,
            each.kept.cell,
            f"{each.new.samples:,} + {each.kept.samples:,}",
            str(each.failed),
            f"{each.cpu:.0%}",
            f"{each.grown_mib:.1f}",
        )
    return result


def targets(observed: Sequence[Observed]) -> list[Target]:
    """For each flood the least favourable of its rates, on new and on kept connections."""
    nginx = {each.title: each for each in observed if each.server == "nginx"}
    quiet = next((each for each in observed if (each.title, each.server) == (QUIET, "gateway")), None)
    found = []
    for flood in dict.fromkeys(each.flood for each in observed if each.mbit_per_second):
        rows = [each for each in observed if (each.flood, each.server) == (flood, "gateway")]
        if not rows:
            continue
        for kind, title in KINDS.items():
            waits = [(getattr(each, kind), each.title) for each in rows]
            if all(its in nginx for _, its in waits):
                ratio = max(mine.p99 / getattr(nginx[its], kind).p99 for mine, its in waits)
                found.append(Target(f"{flood}: p99 on {title}", NGINX_RATIO, ratio, "× nginx"))
            elif quiet is not None:
                ratio = max(mine.p50 for mine, _ in waits) / getattr(quiet, kind).p50
                found.append(Target(f"{flood}: median on {title}", QUIET_RATIO, ratio, "× quiet"))
            worst = max(mine.worst for mine, _ in waits)
            found.append(Target(f"{flood}: worst on {title}", WORST_MS, worst, "ms"))
    return found


def markdown(observed: Sequence[Observed]) -> str:
    """A table for each kind of connection, and one of what the servers took of the flood."""
    servers = list(dict.fromkeys(each.server for each in observed))
    cells: dict[str, Callable[[Observed], str]] = {
        **{f"{title}: p50 / p99 / worst, ms": _cell_of(kind) for kind, title in KINDS.items()},
        "taken, Mbit/s": lambda each: f"{each.taken:.1f}",
    }
    lines = []
    for title, cell in cells.items():
        lines += [f"| {title} | {' | '.join(servers)} |", "|---" * (len(servers) + 1) + "|"]
        for row in dict.fromkeys(each.title for each in observed):
            of = {each.server: each for each in observed if each.title == row}
            lines.append(f"| {row} | {' | '.join(cell(of[server]) for server in servers)} |")
        lines.append("")
    return "\n".join(lines)


def _cell_of(kind: str) -> Callable[[Observed], str]:
    def cell(each: Observed) -> str:
        waits: Waits = getattr(each, kind)
        return waits.cell

    return cell
