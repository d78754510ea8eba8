"""`gateway status`: what the running gateway says of itself.

Exit code 0: all is as it should be. 1: nobody answers, no worker serves, one is missing or hangs, clients are refused
because a CA, list or site certificate has ended, or the newest change on disk was refused. Warnings and upstream
servers that are down are shown, and leave the exit code alone: a restart would mend neither.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.check import DEFAULT_CONFIG, ConfigOption
from gateway.errors import UsageError

_FAILED: Final = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    address: Annotated[
        str | None, typer.Option("--address", help="Ask there, not where the file says.", metavar="HOST:PORT")
    ] = None,
    health: Annotated[bool, typer.Option("--health", help="Ask only whether it serves, as a health check.")] = False,
    unban: Annotated[
        str | None,
        typer.Option(
            "--unban",
            help="Let this address in again before its lockout ends, or a certificate (by e-mail or fingerprint).",
            metavar="WHO",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the state as JSON.")] = False,
) -> None:
    """Show the running gateway: workers, the last reload, certificates and lists with their ends, upstream servers."""
    from gateway.cli import status_client, status_report  # noqa: PLC0415 - heavy, see app

    if unban is not None and health:
        raise UsageError("--unban and --health are two commands", "give one of them")
    if unban is not None:
        _unban(config, address, unban, as_json=as_json)
        return
    if health:
        typer.echo(status_client.check_health(config, address))
        return
    state = status_client.fetch(status_client.admin_address(config, address))
    problems = status_report.problems_of(state)
    if as_json:
        typer.echo(json.dumps({**state, "problems": problems}, indent=2, ensure_ascii=False))
    else:
        for line in status_report.lines_of(state, problems):
            typer.secho(line.text, fg=line.colour, bold=line.is_heading)
    if problems:
        raise typer.Exit(_FAILED)


def _unban(config: Path, address: str | None, text: str, *, as_json: bool) -> None:
    from gateway.cli import status_client  # noqa: PLC0415 - heavy, see app
    from gateway.proxy.lockout import certificate_name, key_of_text  # noqa: PLC0415 - the same

    key: str | None
    try:
        key = key_of_text(text)
    except ValueError:
        key = certificate_name(text)
    if key is None:
        raise UsageError(
            f"--unban: {text!r} is not an IP address",
            "write one such as 203.0.113.9, or a certificate's e-mail address or fingerprint, as 'gateway status' does",
        )
    if "/" in text and key != text:
        raise UsageError(f"--unban: {text!r} is not what is locked out together", f"write {key}")
    lifted = status_client.lift(status_client.admin_address(config, address), key)
    typer.echo(json.dumps({"address": lifted, "outcome": "lifted"}) if as_json else f"{lifted} may log in again")
