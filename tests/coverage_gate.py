"""A pytest plugin: each package of gateway/ must have the branch coverage that its part of the risk asks for.

Loaded by `make test` with `-p tests.coverage_gate`, beside pytest-cov, whose data it reads when the suite has ended. A
package below its share is listed with the lines that no test reached, and the run fails.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import coverage
import pytest

# What decides who gets in, reads hostile bytes or makes keys leaves no branch to chance.
FULL_PERCENT = 100.0
FULL_ROOMS = frozenset({"policy", "http", "tls", "x509", "pki"})
OTHER_PERCENT = 95.0
GAPS_SHOWN = 20


@dataclass
class Package:
    name: str
    covered: int = 0
    of: int = 0
    gaps: tuple[str, ...] = ()

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.of if self.of else 100.0

    @property
    def at_least(self) -> float:
        return FULL_PERCENT if self.name in FULL_ROOMS else OTHER_PERCENT


def packages_of(report: dict[str, Any]) -> list[Package]:
    """Sums coverage's JSON report over the folders of gateway/; the modules beside them are the package "gateway"."""
    packages: defaultdict[str, Package] = defaultdict(lambda: Package(""))
    for file, data in sorted(report["files"].items()):
        parts = Path(file).parts
        name = parts[1] if len(parts) > 2 else "gateway"
        package = packages[name]
        package.name = name
        summary = data["summary"]
        package.covered += summary["covered_lines"] + summary["covered_branches"]
        package.of += summary["num_statements"] + summary["num_branches"]
        if summary["missing_lines"] or summary["missing_branches"]:
            package.gaps += (f"{file}: {_missing(data)}",)
    return sorted(packages.values(), key=lambda package: package.name)


def _missing(data: dict[str, Any]) -> str:
    if not data["summary"]["covered_lines"]:
        return "nothing is covered"
    branches = (f"{start}->{'exit' if end < 0 else end}" for start, end in data["missing_branches"])
    gaps = [*map(str, data["missing_lines"]), *branches]
    return ", ".join(gaps[:GAPS_SHOWN]) + (" …" if len(gaps) > GAPS_SHOWN else "")


def _report() -> dict[str, Any]:
    measured = coverage.Coverage()
    measured.load()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.json"
        measured.json_report(outfile=str(file))
        report: dict[str, Any] = json.loads(file.read_text())
    return report


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("coverage, lines and branches")
    below = []
    for package in packages_of(_report()):
        is_below = package.percent < package.at_least
        terminalreporter.line(
            f"{package.name:12}{package.percent:7.2f} %   at least {package.at_least:.0f} %"
            f"{'   TOO LOW' if is_below else ''}",
            red=is_below,
        )
        if is_below:
            below.append(package)
            for gap in package.gaps:
                terminalreporter.line(f"    {gap}")
    if below:
        # Names pytest doesn't know are counted in its last line as they are.
        terminalreporter.stats["packages below their coverage"] = below
        session = terminalreporter._session
        if session is not None and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
