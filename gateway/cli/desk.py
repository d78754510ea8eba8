"""What the commands `ca` and `cert` share: finding the registry, asking for passphrases, printing.

A secret comes from a prompt, a file or the environment, never from an argument: arguments are in every process list.
"""

from __future__ import annotations

import getpass
import json
import os
import pwd
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from gateway.commands import at_desk
from gateway.errors import GatewayError, UsageError

if TYPE_CHECKING:
    from gateway.pki.authority import Authority
    from gateway.pki.desk import Desk

PASSPHRASE_VARIABLE: Final = "GATEWAY_CA_PASSPHRASE"  # noqa: S105 - a name
PARENT_VARIABLE: Final = "GATEWAY_CA_PARENT_PASSPHRASE"
_MAX_DURATION: Final = timedelta(days=36_500)  # as long as any certificate; dates end in the year 9999
_DEFAULT_STORE: Final = "sqlite:///pki/registry.db"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help=f"File with the authority's passphrase; else ${PASSPHRASE_VARIABLE}, else asked for."
    ),
]


@dataclass(frozen=True, slots=True)
class Where:
    """Where the registry is, according to the command line."""

    store: str | None = None
    folder: Path | None = None
    config: Path | None = None
    options: str = ""  # those of the command line; variables of the environment are there for the next command too


class DeskGroup(TyperGroup):
    """`gateway ca` or `gateway cert`. Commands in the messages of errors name the registry as this command did."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises `GatewayError`."""
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            error.cause, error.remedy = located_here(ctx, error.cause), located_here(ctx, error.remedy)
            raise


def located_here(context: typer.Context, text: str) -> str:
    """A message whose commands of the desk name the same registry as the running command."""
    return at_desk(text, where_of(context).options)


def take_where(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="GATEWAY_PKI_STORE", help=f"The registry's URL. [default: {_DEFAULT_STORE}]"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", envvar="GATEWAY_PKI_FOLDER", help="Where the authorities' files are. [default: pki]"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="Take pki.store and pki.folder from this configuration.", metavar="FILE"),
    ] = None,
) -> None:
    """Remember where the registry is for the command that follows. Raises `UsageError` for a password in the option."""
    if store is not None and is_given(context, "store"):
        from gateway.pki.registry.engine import has_password  # noqa: PLC0415 - heavy, see app

        if has_password(store):
            raise UsageError(
                "--store: a password in an argument is in every process list",
                "Set GATEWAY_PKI_STORE or PGPASSWORD, or name the configuration that has it with -c.",
            )
    given = {"config": ("-c", config), "store": ("--store", store), "folder": ("--folder", folder)}
    options = (f" {option} {quote(str(value))}" for name, (option, value) in given.items() if is_given(context, name))
    context.obj = Where(store, folder, config, "".join(options))


def is_given(context: typer.Context, parameter: str) -> bool:
    """True if the command line has the option of this parameter."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


@contextmanager
def open_desk(context: typer.Context, *, may_make: bool = False) -> Iterator[Desk]:
    """The desk over the registry that the command line, the environment or the configuration names.

    Only commands that make an authority may make a registry: for others, a wrong folder would look like an empty one.
    """
    from gateway.pki.desk import Desk  # noqa: PLC0415 - heavy, see app
    from gateway.pki.registry.engine import Registry  # noqa: PLC0415 - the same

    store, folder = located(where_of(context))
    with Registry.open(store, Path.cwd(), may_make=may_make) as registry:
        yield Desk(registry, folder, actor())


def where_of(context: typer.Context) -> Where:
    """What `take_where` stored in the context."""
    return context.obj if isinstance(context.obj, Where) else Where()


def actor() -> str:
    """The user, for the audit trail; with sudo, also the user who ran it."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    before = os.environ.get("SUDO_USER")
    return f"{before} as {user}" if before and before != user else user


def passphrase(file: Path | None, what: str, *, variable: str = PASSPHRASE_VARIABLE, is_new: bool = False) -> str:
    """A secret from its file, the environment, or a prompt. Raises `UsageError` if all three are missing."""
    from gateway.pki.files import read_secret  # noqa: PLC0415 - heavy, see app

    if file is not None:
        return read_secret(file)
    if (value := os.environ.get(variable)) is not None:
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UsageError(f"{variable} is not UTF-8 text", "Set it in UTF-8, or give --passphrase-file FILE.")
        return value
    if not sys.stdin.isatty():
        option = "--parent-passphrase-file" if variable == PARENT_VARIABLE else "--passphrase-file"
        raise UsageError(f"the passphrase of {what} is missing", f"Give {option} FILE or set {variable}.")
    typed = getpass.getpass(f"Passphrase of {what}: ")
    if is_new and getpass.getpass("Once more: ") != typed:
        raise UsageError("the two passphrases differ", "Run the command again.")
    return typed


def unlock(desk: Desk, name: str, file: Path | None) -> Authority:
    """An authority that can sign. Raises `UsageError`."""
    return unlock_with(desk, name, file)[0]


def unlock_with(desk: Desk, name: str, file: Path | None) -> tuple[Authority, str]:
    """An authority that can sign, and its passphrase. Raises `UsageError`."""
    from gateway.pki import authority  # noqa: PLC0415 - heavy, see app

    authority.locked(desk, name)  # reports a wrong name or a missing key before a passphrase is asked for
    secret = passphrase(file, f"authority '{name}'")
    remedy = "Type the passphrase again."
    if file is not None:
        remedy = f"Write the passphrase of '{name}' into {file}."
    elif PASSPHRASE_VARIABLE in os.environ:
        remedy = f"Set {PASSPHRASE_VARIABLE} to the passphrase of '{name}'."
    return authority.unlock(desk, name, secret, remedy), secret


def duration(text: str, option: str) -> timedelta:
    """A duration such as `14d`, of a hundred years at most. Raises `UsageError`."""
    from gateway.config.units import parse_duration  # noqa: PLC0415 - heavy, see app

    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError(f"{option}: '{text[:40]}' is not a duration", "Write it like 14d, 36h or 30m.")
    if seconds > _MAX_DURATION.total_seconds():
        raise UsageError(
            f"{option}: '{text[:40]}' is more than {_MAX_DURATION.days}d", f"Write at most {_MAX_DURATION.days}d."
        )
    return timedelta(seconds=seconds)


def print_json(document: Any) -> None:
    """JSON on stdout; times as RFC 3339."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose columns are as wide as their longest cell."""
    widths = [max(len(row[number]) for row in (columns, *rows)) for number in range(len(columns))]
    for row in (columns, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one pair a line; values that are None are left out."""
    width = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        if value is not None:
            typer.echo(f"{name + ':':<{width}}{_plain(value)}")


def _plain(value: object) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def located(where: Where) -> tuple[str, Path]:
    """The registry's URL and the authorities' folder: from the command line, else from the configuration."""
    from gateway.config.load import read_pki  # noqa: PLC0415 - heavy, see app
    from gateway.config.pki import absolute_store, default_folder  # noqa: PLC0415 - the same

    store, base = where.store or _DEFAULT_STORE, Path.cwd()
    if where.store is None and where.config is not None:
        if (pki := read_pki(where.config)) is not None:
            return pki.store, where.folder or pki.folder
        base = where.config.absolute().parent
        store = absolute_store(store, base)
    return store, where.folder or default_folder(store, base)
