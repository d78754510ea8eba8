"""`python -m bench.desk`: certificates a second of `gateway cert import`, beside `openssl genrsa` alone.

Keys are most of the work, and how long one takes is chance; so openssl makes hundreds of them, half before and half
after the import, once one after the other and once on every core. Time counts on an idle machine, CPU on any.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

BITS = 2048
PASSPHRASE = "of the benchmark's authority"  # noqa: S105 - of a folder that is deleted a minute later


@dataclass(frozen=True)
class Cost:
    """What so many of a thing took."""

    count: int
    seconds: float
    cpu_seconds: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.count + other.count, self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        return self.cpu_seconds / self.count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.desk", description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=1000, help="rows of the CSV (default: %(default)s)")
    parser.add_argument(
        "--keys", type=int, default=200, help="keys that openssl makes, each way (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options.users)
        half = options.keys // 2
        alone, cores = genrsa(half, 1), genrsa(half, os.cpu_count() or 1)
        imported = measured(options.users, lambda: gateway(folder, "cert", "import", "users.csv", "--out", "out"))
        alone, cores = alone + genrsa(half, 1), cores + genrsa(half, os.cpu_count() or 1)
    report({"openssl genrsa, one after the other": alone, "openssl genrsa, on every core": cores,
            "gateway cert import": imported}, cores)  # fmt: skip


def prepare(folder: Path, users: int) -> None:
    rows = (f"user{number}@example.com,User {number}\n" for number in range(users))
    (folder / "users.csv").write_text("email,name\n" + "".join(rows))
    gateway(folder, "ca", "init", "bench", "--key", "ecdsa-p256")


def gateway(folder: Path, *arguments: str) -> None:
    authority = () if arguments[0] == "ca" else ("--ca", "bench")
    environment = {**os.environ, "GATEWAY_CA_PASSPHRASE": PASSPHRASE}
    command = [sys.executable, "-m", "gateway", *arguments, *authority]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def genrsa(count: int, at_once: int) -> Cost:
    def one(_number: int) -> None:
        subprocess.run(["openssl", "genrsa", str(BITS)], check=True, capture_output=True)

    def work() -> None:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, range(count)))

    return measured(count, work)


def measured(count: int, work: Callable[[], None]) -> Cost:
    began, before = time.monotonic(), cpu_seconds()
    work()
    return Cost(count, time.monotonic() - began, cpu_seconds() - before)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(costs: dict[str, Cost], reference: Cost) -> None:
    table = Table(title=f"RSA-{BITS} on {os.cpu_count()} cores")
    for column in ("", "number", "a second", "CPU ms each", "rate to genrsa on every core"):
        table.add_column(column, justify="left" if not column else "right")
    for name, cost in costs.items():
        cells = (f"{cost.count}", f"{cost.rate:.1f}", f"{cost.cpu_ms:.0f}", f"{cost.rate / reference.rate:.2f} ×")
        table.add_row(name, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
