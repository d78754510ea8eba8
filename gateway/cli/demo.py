"""`gateway demo`: a CA, a user, a sample mail server and the real gateway on loopback, to see and to try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Show the six answers and end; 0 if all came out right.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="A new or empty folder to work in, and to keep.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The six answers as JSON; implies --once.")] = False,
) -> None:
    """Try it out on loopback: a throw-away CA, a user's certificate, a sample mail server, and the gateway."""
    from gateway.cli import demo_run  # noqa: PLC0415 - brings cryptography and the sample server, for this alone

    if not demo_run.run(is_once=once or as_json, keep=keep, as_json=as_json):
        raise typer.Exit(1)
