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
        bool, typer.Option("--once", help="Show the six answers and exit, with 0 if all are right.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="A new or empty folder for all files; it is kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The six answers as JSON; implies --once.")] = False,
) -> None:
    """Try the gateway on loopback.

    With a throw-away CA, a user's certificate and a sample mail server.
    """
    from gateway.cli import demo_run  # noqa: PLC0415 - heavy: cryptography and the sample server

    if not demo_run.run(is_once=once or as_json, keep=keep, as_json=as_json):
        raise typer.Exit(1)
