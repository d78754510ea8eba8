"""What came out, as tables: of every scenario, and at the end of all that the gateway must keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.scenarios import SCENARIOS, Measurement, Scenario


@dataclass(frozen=True)
class Target:
    """One thing that the gateway must keep."""

    what: str
    limit: float
    reached: float
    unit: str = ""
    is_at_least: bool = False

    @property
    def is_kept(self) -> bool:
        return self.reached >= self.limit if self.is_at_least else self.reached <= self.limit


def verdicts(targets: Sequence[Target]) -> Table:
    """The last word: what was to be reached, what was, and whether that will do."""
    result = Table(title="What the gateway must keep", title_justify="left")
    for column in ("", "target", "reached", "verdict"):
        result.add_column(column, justify="left" if column in ("", "verdict") else "right", no_wrap=True)
    for target in targets:
        sign = "≥" if target.is_at_least else "≤"
        result.add_row(
            target.what,
            f"{sign} {_number(target.limit)} {target.unit}",
            f"{_number(target.reached)} {target.unit}",
            "ok" if target.is_kept else "MISSED",
        )
    return result


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def targets_of(scenario: Scenario, measurements: Sequence[Measurement]) -> list[Target]:
    """A target for each server beside which the gateway was measured, and for what is absolute."""
    of = {m.server: m for m in measurements}
    gateway = of.get("gateway")
    if gateway is None:
        return []
    found = [
        Target(scenario.title, limit, gateway.ratio(of[server]), f"× {server}")
        for server, limit in (("nginx", scenario.nginx_ratio), ("aiohttp", scenario.aiohttp_ratio))
        if limit is not None and server in of
    ]
    if scenario.bytes_at_most is not None:
        found.append(Target(scenario.title, scenario.bytes_at_most / 1024, gateway.value, "KiB"))
    return found


def table(scenario: Scenario, measurements: Sequence[Measurement]) -> Table:
    unit = "KiB" if scenario.is_memory else "µs CPU"
    result = Table(title=scenario.title, title_justify="left")
    for column in ("server", unit, "lowest … highest", "requests/s", "÷ nginx", "÷ aiohttp"):
        result.add_column(column, justify="left" if column == "server" else "right", no_wrap=True)
    of = {m.server: m for m in measurements}
    for m in measurements:
        result.add_row(
            m.server,
            f"{m.value:.1f}",
            f"{min(m.rounds):.0f} … {max(m.rounds):.0f}",
            f"{m.requests_per_second:.0f}" if m.requests_per_second else "",
            *(f"{m.ratio(of[other]):.2f}" if other in of else "" for other in ("nginx", "aiohttp")),
        )
    return result


def markdown(measurements: Sequence[Measurement]) -> str:
    """A row for each scenario and a column for each server, with the ratio to nginx where there is one."""
    servers = list(dict.fromkeys(m.server for m in measurements))
    lines = [f"| | {' | '.join(servers)} |", "|---" * (len(servers) + 1) + "|"]
    for scenario in SCENARIOS:
        of = {m.server: m for m in measurements if m.scenario == scenario.name}
        if of:
            unit = "KiB" if scenario.is_memory else "µs"
            cells = [
                f"{of[server].value:.0f}"
                + (f" ({of[server].ratio(of['nginx']):.2f} ×)" if "nginx" in of and server != "nginx" else "")
                for server in servers
            ]
            lines.append(f"| {scenario.title}, {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)
