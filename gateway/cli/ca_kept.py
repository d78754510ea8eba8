"""Prints the configuration with which the gateway renews an authority's revocation list before the list ends."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import typer

from gateway.access import is_file
from gateway.cli.desk import Where, located

STORE_VARIABLE: Final = "GATEWAY_PKI_STORE"
_ENDLESS: Final = 10_000  # of columns: a folded path would be hard to read
_INTRODUCTION: Final = """
The list must be renewed before it ends, or every certificate is refused. The gateway does that by itself
with these lines in its configuration:
"""
_WRITING: Final = """
The passphrase must be in that file, which only the gateway's user may read. To write it, run this command,
type the passphrase, and press Enter and Ctrl-D:

install -m 600 /dev/stdin {}"""


def tell(context: typer.Context, name: str, passphrase_file: Path | None) -> None:
    """Print the lines and how to write the passphrase file; print nothing if the command's -c file has the lines."""
    from gateway.config.load import read_pki  # noqa: PLC0415 - heavy, see app

    where = context.obj if isinstance(context.obj, Where) else Where()
    pki = None if where.config is None else read_pki(where.config)
    if pki is not None and any(kept.name == name for kept in pki.authorities):
        return
    store, folder = located(where)
    typer.echo(_INTRODUCTION)
    if passphrase_file is not None and is_file(passphrase_file):  # not a pipe
        typer.echo(section(store, folder, name, passphrase_file.absolute()), nl=False)
        return
    file = folder.absolute().parent / f"{name}.passphrase"  # outside the folder of the key that it opens
    typer.echo(section(store, folder, name, file), nl=False)
    typer.echo(_WRITING.format(shlex.quote(str(file))))


def section(store: str, folder: Path, name: str, passphrase_file: Path) -> str:
    """The section `pki` of the configuration, as YAML."""
    import yaml  # noqa: PLC0415 - heavy, see app

    from gateway.config.pki import SQLITE, absolute_store, default_folder  # noqa: PLC0415 - the same

    is_file = store.startswith(SQLITE)
    store = absolute_store(store, Path.cwd())
    pki: dict[str, object] = {"store": _plain(store) if is_file else f"${{{STORE_VARIABLE}}}"}  # it may hold a password
    if folder.absolute() != default_folder(store, Path.cwd()):
        pki["folder"] = _plain(str(folder.absolute()))
    pki["authorities"] = {name: {"passphrase_file": _plain(str(passphrase_file))}}
    text: str = yaml.safe_dump({"pki": pki}, sort_keys=False, allow_unicode=True, width=_ENDLESS)
    return text


def _plain(text: str) -> str:
    """The text with `$` escaped, so that no variable is substituted in it."""
    return text.replace("$", "$$")
