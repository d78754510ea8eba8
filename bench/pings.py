"""Ten thousand idle ActiveSync Pings on one worker: what each holds in memory, what all cost while nothing happens.

Real mutual TLS connections from fifty addresses, each with a Ping under way and a connection to the mail server of its
own. The mail server is silent for ten minutes and then answers them all at once.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from bench import processes
from bench.ping_ends import Job
from bench.report import Target

NAME = "pings"
SERVERS = ("nginx", "gateway")
PINGS = 10_000
MINUTES = 10.0
KIB_AT_MOST = 60
IDLE_PERCENT_AT_MOST = 2.0
# A worker's own files; what is left of the limit is for clients and upstreams in pairs.
OWN_FILES = 30
# What is allocated once, for the first connections, is not a connection's own.
WARM_UP = 64
# After the last Ping has arrived: log lines, and answers to session tickets.
SETTLE_SECONDS = 3.0
LOOK_SECONDS = 10.0
# From the last client's request to the mail server.
ARRIVE_SECONDS = 30.0
# How long everything may take to be closed again.
CLOSE_SECONDS = 20.0


@dataclass(frozen=True)
class Held:
    server: str
    pings: int
    minutes: float
    open_seconds: float  # to make all connections and send their Pings
    open_cpu_ms: float  # of the server for each of them
    rss_kib: float  # a ping: client's and upstream's connection, resident memory of the worker
    pss_kib: float  # the same, of all processes, shared pages in parts
    idle_percent: float  # of a core, while nothing happened
    answered: int
    answer_seconds: float  # from the mail server's first answer to the client's last
    files_before: int
    files_after: int


def possible() -> int:
    """As many as the limit of open files lets one worker hold, at most `PINGS`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return PINGS if hard == resource.RLIM_INFINITY else min(PINGS, (hard - OWN_FILES) // 2)


@dataclass(frozen=True)
class Place:
    """One server of which much is asked: how it is reached and looked at."""

    server: str
    job: Job
    family: Callable[[], list[int]]
    core: int  # of the clients

    def worker(self) -> int:
        """The process that serves: it has the most files open."""
        return max(self.family(), key=processes.open_files)


def hold(place: Place, upstream: processes.Helper, minutes: float) -> Held:
    """Open all Pings, hold them so long, and have them answered."""
    _ask(place, upstream, WARM_UP)
    family = place.family()
    worker = place.worker()
    files = processes.open_files(worker)
    rss, pss = processes.own_bytes(worker), processes.resident_bytes(family)
    cpu = processes.cpu_seconds(family)
    with _phones(place, place.job.pings) as phones:
        open_seconds = float(phones.read())
        _wait_for_all(place, upstream, place.job.pings)
        cpu = processes.cpu_seconds(family) - cpu
        time.sleep(SETTLE_SECONDS)
        rss, pss = processes.own_bytes(worker) - rss, processes.resident_bytes(family) - pss
        percent = _stay(place, phones, upstream, minutes)
        begin = float(upstream.ask("speak"))
        answered, last = json.loads(phones.read())
    deadline = time.monotonic() + CLOSE_SECONDS
    while (files_after := processes.open_files(worker)) > files + WARM_UP and time.monotonic() < deadline:
        time.sleep(0.1)
    return Held(
        place.server,
        place.job.pings,
        minutes,
        open_seconds,
        cpu / place.job.pings * 1000,
        rss / place.job.pings / 1024,
        pss / place.job.pings / 1024,
        percent,
        answered,
        last - begin,
        files,
        files_after,
    )


def _phones(place: Place, count: int) -> processes.Helper:
    job = {**asdict(place.job), "pings": count}
    return processes.Helper("bench.ping_ends", "client", json.dumps(job), core=place.core)


def _ask(place: Place, upstream: processes.Helper, count: int) -> None:
    """So many Pings, answered as soon as all have come."""
    with _phones(place, count) as phones:
        phones.read()
        _wait_for_all(place, upstream, count)
        upstream.ask("speak")
        phones.read()


def _wait_for_all(place: Place, upstream: processes.Helper, count: int) -> None:
    deadline = time.monotonic() + ARRIVE_SECONDS
    while (waiting := int(upstream.ask("count"))) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{place.server}: only {waiting} of {count} Pings have come through")
        time.sleep(0.1)


def _stay(place: Place, phones: processes.Helper, upstream: processes.Helper, minutes: float) -> float:
    """Let the time go by; the CPU that it took, in percent of a core. All must be there all the time."""
    family = place.family()
    begin, cpu = time.monotonic(), processes.cpu_seconds(family)
    until = begin + minutes * 60
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
        if (waiting := int(upstream.ask("count"))) != place.job.pings or phones.process.poll() is not None:
            raise SystemExit(f"{place.server}: only {waiting} of {place.job.pings} Pings wait on")
    return (processes.cpu_seconds(family) - cpu) / (time.monotonic() - begin) * 100


def table(held: Sequence[Held]) -> Table:
    result = Table(title=f"{held[0].pings:,} idle Pings for {held[0].minutes:g} min", title_justify="left")
    for column in (
        "server",
        "RSS KiB a ping",
        "PSS KiB",
        "idle CPU",
        "answered",
        "after",
        "opened in",
        "CPU ms each",
        "files",
    ):
        result.add_column(column, justify="left" if column == "server" else "right", no_wrap=True)
    for each in held:
        result.add_row(
            each.server,
            f"{each.rss_kib:.1f}",
            f"{each.pss_kib:.1f}",
            f"{each.idle_percent:.2f} %",
            f"{each.answered:,}",
            f"{each.answer_seconds:.2f} s",
            f"{each.open_seconds:.0f} s",
            f"{each.open_cpu_ms:.2f}",
            f"{each.files_before} → {each.files_after}",
        )
    return result


def targets(held: Sequence[Held]) -> list[Target]:
    found = []
    for each in held:
        if each.server == "gateway":
            what = f"{each.pings:,} Pings for {each.minutes:g} min"
            most = max(each.rss_kib, each.pss_kib)
            found.append(Target(f"{what}, memory of each with its upstream's", KIB_AT_MOST, most, "KiB"))
            found.append(Target(f"{what}, idle CPU", IDLE_PERCENT_AT_MOST, each.idle_percent, "% of a core"))
            found.append(Target(f"{what}, answered", each.pings, each.answered, is_at_least=True))
    return found
