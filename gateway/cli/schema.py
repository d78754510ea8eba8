"""`gateway schema`: the JSON Schema of the configuration file, or its reference."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(schema)


def schema(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference of all keys instead.")] = False,
) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from gateway.config import json_schema, reference  # noqa: PLC0415 - heavy, see app

    if markdown:
        typer.echo(reference.markdown(), nl=False)
    else:
        typer.echo(json.dumps(json_schema.json_schema(), indent=2, ensure_ascii=False))
