"""2 GiB up and 2 GiB down through each server: its throughput, CPU time, and the memory that it takes meanwhile."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from rich.table import Table

from bench import processes
from bench.bulk import Job
from bench.report import Target

NAME = "transfer"
SERVERS = ("nginx", "haproxy", "caddy", "gateway")
SIZE_BYTES = 2 * 1024**3  # `limits.body` by default: exactly so much must pass
WARM_UP_BYTES = 64 * 1024
EXTRA_MIB = 40
NGINX_RATIO = 0.5  # of its throughput, at least
GIB, MIB = 1024**3, 1024**2


@dataclass(frozen=True)
class Transfer:
    server: str
    is_upload: bool
    mib_per_second: list[float]  # of each round
    cpu_seconds: list[float]  # a GiB
    extra_mib: float  # the most of all rounds

    @property
    def title(self) -> str:
        return f"2 GiB {'up' if self.is_upload else 'down'}load"

    def ratio(self, other: Transfer) -> float:
        return statistics.median(a / b for a, b in zip(self.mib_per_second, other.mib_per_second, strict=True))


def measure(
    servers: Sequence[str], rounds: int, job_for: Callable[[str], Job], family: Callable[[str], list[int]], core: int
) -> list[Transfer]:
    """Each round asks every server for each direction in turn. `job_for` says how a server is reached."""
    found: dict[tuple[bool, str], list[tuple[float, float, float]]] = {}
    for is_upload in (True, False):
        for _ in range(rounds):
            for server in servers:
                job = _sized(job_for(server), SIZE_BYTES, is_upload=is_upload)
                found.setdefault((is_upload, server), []).append(_once(job, partial(family, server), core))
    return [
        Transfer(
            server,
            is_upload,
            [SIZE_BYTES / MIB / seconds for seconds, _, _ in each],
            [cpu / (SIZE_BYTES / GIB) for _, cpu, _ in each],
            max(extra for _, _, extra in each),
        )
        for (is_upload, server), each in found.items()
    ]


def _sized(job: Job, size_bytes: int, *, is_upload: bool) -> Job:
    return Job(**{**asdict(job), "size_bytes": size_bytes, "is_upload": is_upload})


def _once(job: Job, family: Callable[[], list[int]], core: int) -> tuple[float, float, float]:
    """(seconds, CPU seconds of the server, MiB that it took beyond what it had)."""
    _carry(_sized(job, WARM_UP_BYTES, is_upload=job.is_upload), core)  # what the first request costs is no part of it
    pids = family()  # it has answered: the worker is there
    for pid in pids:
        processes.forget_peak(pid)
    before = sum(map(processes.own_bytes, pids))
    cpu = processes.cpu_seconds(pids)
    seconds = _carry(job, core)
    return seconds, processes.cpu_seconds(pids) - cpu, (sum(map(processes.peak_bytes, pids)) - before) / MIB


def _carry(job: Job, core: int) -> float:
    with processes.Helper("bench.bulk", "client", json.dumps(asdict(job)), core=core) as client:
        return float(client.read())


def table(transfers: Sequence[Transfer]) -> Table:
    result = Table(title="2 GiB through one connection", title_justify="left")
    for column in ("", "server", "MiB/s", "lowest … highest", "÷ nginx", "CPU s a GiB", "extra MiB"):
        result.add_column(column, justify="left" if column in ("", "server") else "right", no_wrap=True)
    nginx = {each.is_upload: each for each in transfers if each.server == "nginx"}
    for each in transfers:
        other = nginx.get(each.is_upload)
        result.add_row(
            each.title,
            each.server,
            f"{statistics.median(each.mib_per_second):.0f}",
            f"{min(each.mib_per_second):.0f} … {max(each.mib_per_second):.0f}",
            f"{each.ratio(other):.2f}" if other else "",
            f"{statistics.median(each.cpu_seconds):.2f}",
            f"{each.extra_mib:.1f}",
        )
    return result


def targets(transfers: Sequence[Transfer]) -> list[Target]:
    nginx = {each.is_upload: each for each in transfers if each.server == "nginx"}
    found = []
    for each in transfers:
        if each.server == "gateway":
            found.append(Target(f"{each.title}, memory beyond the resting one", EXTRA_MIB, each.extra_mib, "MiB"))
            if other := nginx.get(each.is_upload):
                ratio = each.ratio(other)
                found.append(Target(f"{each.title}, throughput", NGINX_RATIO, ratio, "× nginx", is_at_least=True))
    return found
