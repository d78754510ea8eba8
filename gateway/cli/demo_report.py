"""The demo's output: the six answers as a table or JSON, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.demo_requests import ALICE, ATTEMPTS, LISTEN, Answer, Attempt, Place, curl_line

_COLUMNS: Final = 100  # of a table that goes into a file or a pipe


@dataclass(frozen=True, slots=True)
class Result:
    """A request with the answer it got."""

    attempt: Attempt
    actual: Answer

    @property
    def is_right(self) -> bool:
        """Whether status and reason are as expected."""
        return self.actual == self.attempt.expected


def print_table(results: Sequence[Result]) -> None:
    """A row for each request."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("request", "from", "should be", "is", ""):
        table.add_column(column, overflow="fold")
    for result in results:
        attempt = result.attempt
        table.add_row(
            f"{attempt.title}\n  {attempt.method} {attempt.path}",
            attempt.source,
            _folded(attempt.expected),
            _folded(result.actual),
            Text("right", "green") if result.is_right else Text("WRONG", "bold red"),
        )
    console = Console()
    if not console.is_terminal:
        console.width = _COLUMNS
    console.print(table)


def print_json(results: Sequence[Result]) -> None:
    """An object for each request."""
    listed = [
        {
            "title": result.attempt.title,
            "from": result.attempt.source,
            "method": result.attempt.method,
            "path": result.attempt.path,
            "certificate": result.attempt.holder,
            "expected": str(result.attempt.expected),
            "actual": str(result.actual),
            "right": result.is_right,
        }
        for result in results
    ]
    typer.echo(orjson.dumps(listed, option=orjson.OPT_INDENT_2))


def print_how_to_go_on(place: Place, *, has_ipv6: bool) -> None:
    """The commands to repeat the requests, the addresses for a browser, and where the files are."""
    outside = f", https://[::1]:{place.port}/webmail outside: import alice's certificate first" if has_ipv6 else ""
    lines = [
        "",
        "The same with curl:",
        *(f"  {curl_line(attempt, place)}" for attempt in ATTEMPTS),
        "",
        f"In a browser https://{LISTEN}:{place.port}/webmail is inside{outside}.",
        f"  certificate   {place.p12(ALICE)}",
        f"  password      {place.password}",
        "  Firefox       Settings, Privacy & Security, View Certificates, Your Certificates, Import",
        "  Chromium      chrome://certificate-manager, Your certificates, Import",
        "  Windows, Mac  open the file",
        f"  The browser warns, because it does not know the demo's CA, {place.ca}.",
        "",
        f"Configuration: {place.config}",
        f"Access log:    {place.folder / 'access.jsonl'}",
        "Serving until Ctrl-C.",
    ]
    typer.echo("\n".join(lines))


def _folded(answer: Answer) -> str:
    """Status and reason under each other: the table fits 80 columns."""
    return "\n".join(str(answer).split())
