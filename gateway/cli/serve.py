"""`gateway run`: serves until SIGTERM."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from gateway import garbage


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("config.yaml"),
) -> None:
    """Serve until SIGTERM, then finish open requests. SIGHUP reloads, SIGUSR1 reopens the access log."""
    from gateway.config.container import note_of  # noqa: PLC0415
    from gateway.config.load import read_user  # noqa: PLC0415 - heavy: for this command only
    from gateway.errors import ConfigError  # noqa: PLC0415
    from gateway.logs.error_log import begin_error_log  # noqa: PLC0415 - asyncio, OpenSSL, uvloop: for this command only
    from gateway.supervisor.master import Master  # noqa: PLC0415
    from gateway.supervisor.privileges import Privileges  # noqa: PLC0415
    from gateway.supervisor.reload.revision import read_revision  # noqa: PLC0415

    garbage.look_as_usual()
    begin_error_log()
    user = read_user(config)
    privileges = Privileges(user)
    revision = read_revision(config)
    if revision.config.user != user:
        raise ConfigError(f"{config}: `user` changed while the gateway started", "Start the gateway again.")
    for warning in revision.warnings:
        logging.getLogger("gateway.config").warning("%s", warning)
    if (note := note_of(revision.config)) is not None:
        logging.getLogger("gateway.config").info("%s", note)
    raise typer.Exit(Master(revision, privileges).run())
