"""A pytest plugin: each package of gateway/ must have the branch coverage that its part of the risk asks for.

Loaded by `make test` with `-p tests.coverage_gate`, beside pytest-cov, which starts the measuring. When the suite has
ended, this plugin combines the data files in place of pytest-cov, whose combining ends the whole run with an internal
error if one file is torn. Tests kill measured processes, also while they write. A torn file is set aside and named; if
combining fails nevertheless, the run fails with one line, and everything else that pytest has to say is still printed.

A package below its share is listed with the lines that no test reached, and the run fails.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
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
COMBINING_TRIES = 2
# A process that was killed while it began its file leaves one without some of them.
TABLES = ("coverage_schema", "meta", "file", "context", "line_bits", "arc", "tracer")


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


@dataclass
class Combined:
    """What the data files of all processes add up to: a report, or why there is none."""

    report: dict[str, Any] | None = None
    failure: str = ""
    torn: dict[str, str] = field(default_factory=dict)  # file → what is wrong with it


def combine(data_file: Path) -> Combined:
    """Combines the files that are named `data_file` and a suffix, and removes them if that succeeds."""
    combined = Combined()
    whole = []
    for file in sorted(data_file.parent.glob(f"{data_file.name}.*")):
        if file.name.endswith("-journal"):  # SQLite's own, beside a data file
            continue
        if fault := _fault(file):
            combined.torn[file.name] = fault
        else:
            whole.append(file)
    for _ in range(COMBINING_TRIES):
        # A folder of its own: no other process knows the file.
        with TemporaryDirectory() as folder:
            try:
                combined.report = _report(Path(folder), whole)
            except (coverage.CoverageException, sqlite3.Error, OSError) as error:
                combined.failure = f"{type(error).__name__}: {error}"
            else:
                break
    if combined.report is not None:
        for file in whole:
            file.unlink(missing_ok=True)
    return combined


def _fault(file: Path) -> str | None:
    """What is wrong with a data file, or None if all of it can be read."""
    address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as data:
            (result,) = data.execute("pragma integrity_check(1)").fetchone()
            for table in TABLES:
                data.execute(f"select count(*) from {table}")  # noqa: S608
    except sqlite3.Error as error:
        return str(error)
    return None if result == "ok" else str(result)


def _report(folder: Path, files: list[Path]) -> dict[str, Any]:
    measured = coverage.Coverage(data_file=str(folder / "coverage"))
    measured.combine([str(file) for file in files], strict=True, keep=True)
    if not measured.get_data().has_arcs():
        raise coverage.CoverageException("no branch was measured")
    file = folder / "coverage.json"
    measured.json_report(outfile=str(file))
    report: dict[str, Any] = json.loads(file.read_text())
    return report


_COMBINED = pytest.StashKey[Combined]()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """pytest-cov combines with this object when the tests have ended, in the main process only."""
    plugin = config.pluginmanager.getplugin("_cov")
    combining = plugin.cov_controller.combining_cov if plugin and plugin.cov_controller else None
    if combining is not None:

        def combine_instead() -> None:
            config.stash[_COMBINED] = combine(Path(combining.config.data_file))

        combining.combine = combine_instead


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.section("coverage, lines and branches")
    combined = config.stash.get(_COMBINED, Combined(failure="the run was interrupted, or --cov is missing"))
    for name, fault in combined.torn.items():
        terminalreporter.line(f"set aside, not counted: {name}: {fault}")
    if combined.report is None:
        terminalreporter.line(f"The coverage is unknown: {combined.failure}", red=True)
        _fail(terminalreporter, "coverage unknown", [combined])
        return
    below = []
    for package in packages_of(combined.report):
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
        _fail(terminalreporter, "packages below their coverage", below)


def _fail(terminalreporter: pytest.TerminalReporter, name: str, what: list[Any]) -> None:
    # Names pytest doesn't know are counted in its last line as they are.
    terminalreporter.stats[name] = what
    session = terminalreporter._session
    if session is not None and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
