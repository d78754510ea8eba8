"""`gateway run`: serve until told to stop."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.config.load import load


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("config.yaml"),
) -> None:
    """Serve until SIGTERM. SIGUSR1 opens the access log anew after a rotation."""
    from gateway.supervisor.master import Master  # noqa: PLC0415 - OpenSSL and uvloop, for this command only

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    raise typer.Exit(Master(load(config)).run())
