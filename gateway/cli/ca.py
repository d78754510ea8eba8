"""`gateway ca`: shows and exports authorities, writes their revocation lists and OCSP signers. `ca_make` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import ca_make
from gateway.cli.desk import (
    DeskGroup,
    JsonOption,
    PassphraseOption,
    located_here,
    open_desk,
    print_facts,
    print_json,
    print_table,
    take_where,
    unlock,
)
from gateway.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.pki.desk import Desk
    from gateway.pki.registry.records import AuthorityRecord

NameArgument = Annotated[str, typer.Argument(help="The authority's name.", metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        cls=DeskGroup, help="Certificate authorities and their lists.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(take_where)
    for name, command in (
        ("init", ca_make.init),
        ("import", ca_make.take_in),
        ("list", list_),
        ("show", show),
        ("export", export),
        ("crl", crl),
        ("ocsp", ocsp),
    ):
        group.command(name)(command)
    app.add_typer(group, name="ca")


def list_(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """List the authorities."""
    from gateway.pki.registry import authorities  # noqa: PLC0415 - heavy, see app

    with open_desk(context) as desk:
        with desk.registry.reading() as connection:
            records = authorities.all_of(connection)
        documents = [_document(desk, record) for record in records]
    if as_json:
        print_json(documents)
        return
    columns = ("NAME", "STATE", "PARENT", "DOMAIN", "UNTIL", "LIST UNTIL", "SUBJECT")
    print_table(
        columns,
        [
            (
                record.name,
                document["state"],
                record.parent or "-",
                record.domain or "-",
                f"{record.not_after:%Y-%m-%d}",
                _day(record.crl_next_update),
                document["subject"],
            )
            for record, document in zip(records, documents, strict=True)
        ],
    )


def show(context: typer.Context, name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Show an authority and where its files are."""
    from gateway.pki import authority  # noqa: PLC0415 - heavy, see app

    with open_desk(context) as desk:
        document = _document(desk, authority.load(desk, name))
    print_json(document) if as_json else print_facts(document)


def export(
    context: typer.Context,
    name: NameArgument,
    *,
    format_: Annotated[
        Literal["pem", "der", "chain", "p7b"],
        typer.Option("--format", help="der: for Windows; chain and p7b: with the authorities above it."),
    ] = "pem",
    out: Annotated[Path | None, typer.Option("--out", help="The file to write. [default: standard output]")] = None,
) -> None:
    """Write an authority's certificate.

    For devices and servers that are to trust the authority.
    """
    from gateway.pki import authority, exports  # noqa: PLC0415 - heavy, see app
    from gateway.pki.files import write_public  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        record = authority.load(desk, name)
    data = exports.certificates((record.certificate_der, *record.chain_der), format_)
    if out is not None:
        write_public(out, data)
    elif format_ in ("der", "p7b"):
        raise UsageError(f"{format_} is binary", "Give --out FILE.")
    else:
        typer.echo(data.decode(), nl=False)


def crl(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Names of authorities. [default: as with --due]")] = None,
    *,
    is_due_only: Annotated[bool, typer.Option("--due", help="Only lists that must be renewed now.")] = False,
    newer: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="If the registry was restored from an older backup: revoke what this newer list of NAME has.",
            metavar="FILE",
        ),
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Write new revocation lists."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority  # noqa: PLC0415 - the same
    from gateway.pki import crl as lists  # noqa: PLC0415 - the same

    if newer is not None:
        _take_over(context, names or [], newer, passphrase_file)
        return
    with open_desk(context) as desk:
        with desk.registry.reading() as connection:
            due = lists.due(connection, clock.now())
        chosen = [name for name in names or due if not is_due_only or name in due]
        for name in chosen:
            authority.locked(desk, name)  # raises for any of them before the first passphrase is asked for
        for name in chosen:
            made = lists.renew(desk, unlock(desk, name, passphrase_file), clock.now())
            typer.echo(f"{desk.file(name, 'crl')}: valid until {made.next_update_utc:%Y-%m-%d %H:%M} UTC")


def _take_over(context: typer.Context, names: list[str], file: Path, passphrase_file: Path | None) -> None:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority, intake, restoring  # noqa: PLC0415 - the same
    from gateway.pki.files import read  # noqa: PLC0415 - the same

    if len(names) != 1:
        raise UsageError("--from takes the list of one authority", "Run gateway ca crl NAME --from FILE.")
    data = read(file)
    with open_desk(context) as desk:
        intake.whole_list(data, authority.locked(desk, names[0]).certificate)  # before the passphrase is asked for
        taken = restoring.take_over(desk, unlock(desk, names[0], passphrase_file), data, clock.now())
        for entry in taken.entries:
            typer.echo(f"{entry.serial}  {'held' if entry.reason == 'certificate-hold' else 'revoked'}  {entry.reason}")
        for serial in taken.still_held:
            release = located_here(context, f"'gateway cert unhold {serial} --ca {names[0]}'")
            typer.echo(f"{serial}  still on hold, but not on this list; to release it again: {release}")
        typer.echo(f"{desk.file(names[0], 'crl')}: continues after list {taken.number}")


def ocsp(context: typer.Context, name: NameArgument, *, passphrase_file: PassphraseOption = None) -> None:
    """Make the certificate that signs OCSP answers.

    It is valid for a month, and has its own key.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority, ocsp_signer  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        ocsp_signer.check(desk, authority.locked(desk, name), clock.now())  # before the passphrase is asked for
        signer = ocsp_signer.make_signer(desk, unlock(desk, name, passphrase_file), clock.now())
        until = f"{signer.certificate.not_valid_after_utc:%Y-%m-%d}"
        typer.echo(f"{desk.file(name, 'ocsp.crt')}: valid until {until}")


def _document(desk: Desk, record: AuthorityRecord) -> dict[str, Any]:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki.exports import describe_authority  # noqa: PLC0415 - the same

    return describe_authority(desk, record, clock.now())


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d}"
