"""`gateway status`: shows the state of the running gateway.

Exit code 0: no problem. 1: no gateway answers, no worker serves, a worker is missing or hangs, clients are refused
because a CA, list or site certificate has ended, or the newest change on disk was refused. Warnings and upstream
servers that are down are shown, but don't change the exit code: a restart would not help.
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
        str | None, typer.Option("--address", help="Ask there, not at admin.address.", metavar="HOST:PORT")
    ] = None,
    health: Annotated[bool, typer.Option("--health", help="Ask only whether it serves, as a health check.")] = False,
    unban: Annotated[
        str | None,
        typer.Option(
            "--unban",
            help="End the lockout of this address or certificate (e-mail address or fingerprint).",
            metavar="WHO",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the state as JSON.")] = False,
) -> None:
    """Show the state of the running gateway.

    Workers, the last reload, when certificates and lists end, upstream servers, warnings and problems.
    """
    from gateway.cli import status_client, status_report  # noqa: PLC0415 - heavy, see app

    if unban is not None and health:
        raise UsageError("--unban and --health can't be combined", "Remove one of them.")
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
    from gateway.proxy.limits.lockout import certificate_name, key_of_text  # noqa: PLC0415 - the same

    key: str | None
    try:
        key = key_of_text(text)
    except ValueError:
        key = certificate_name(text)
    if key is None:
        raise UsageError(
            f"--unban: {text!r} is not an IP address, e-mail address or fingerprint",
            "Copy the address or the certificate's fingerprint from 'gateway status', \"locked out\".",
        )
    if "/" in text and key != text:
        raise UsageError(f"--unban: {text!r} is not a network that is locked out as a whole", f"Write {key}.")
    lifted = status_client.lift(status_client.admin_address(config, address), key)
    typer.echo(json.dumps({"address": lifted, "outcome": "lifted"}) if as_json else f"{lifted} may log in again")
