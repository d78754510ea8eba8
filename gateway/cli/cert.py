"""`gateway cert`: lists, shows and exports certificates. The other commands are in `cert_*` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import cert_issue, cert_profile, cert_renew, cert_state, verify
from gateway.cli.desk import (
    DeskGroup,
    JsonOption,
    PassphraseOption,
    duration,
    open_desk,
    passphrase,
    print_facts,
    print_json,
    print_table,
    take_where,
)
from gateway.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.pki.registry.records import CertificateRecord

TargetArgument = Annotated[
    str, typer.Argument(help="A serial, an e-mail address or a common name.", metavar="SERIAL|EMAIL")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        cls=DeskGroup, help="Issue, show, renew and revoke certificates.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(take_where)
    for name, command in (
        ("issue", cert_issue.issue),
        ("import", cert_issue.import_),
        ("server", cert_issue.server),
        ("list", list_),
        ("show", show),
        ("export", export),
        ("renew", cert_renew.renew),
        ("revoke", cert_state.revoke),
        ("hold", cert_state.hold),
        ("unhold", cert_state.unhold),
        ("profile", cert_profile.profile),
        ("verify", verify.verify),
    ):
        group.command(name)(command)
    app.add_typer(group, name="cert")


def list_(
    context: typer.Context,
    *,
    user: Annotated[str | None, typer.Option("--user", help="Part of the address, name or UPN.")] = None,
    authority: Annotated[str | None, typer.Option("--ca", help="Only of this authority.", metavar="NAME")] = None,
    expiring: Annotated[
        str | None, typer.Option("--expiring", help="Only usable ones that end within this time, such as 30d.")
    ] = None,
    is_revoked: Annotated[bool, typer.Option("--revoked", help="Only revoked and held ones.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List certificates."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki.exports import describe_certificate, describe_entry  # noqa: PLC0415 - the same
    from gateway.pki.registry.search import Wanted, listed_only, search  # noqa: PLC0415 - the same

    now = clock.now()
    within = None if expiring is None else duration(expiring, "--expiring")
    wanted = Wanted(user=user, authority=authority, expiring_within=within, is_revoked=is_revoked)
    with open_desk(context) as desk, desk.registry.reading() as connection:
        found = search(connection, wanted, now)
        others = list(map(describe_entry, listed_only(connection, wanted)))
    if as_json:
        print_json([describe_certificate(record, now) for record in found] + others)
        return
    columns = ("SERIAL", "STATE", "UNTIL", "CA", "FOR", "E-MAIL", "NAME", "DEVICE")
    print_table(columns, [_row(record, now) for record in found] + [_row_of_other(other) for other in others])


def show(context: typer.Context, target: TargetArgument, *, as_json: JsonOption = False) -> None:
    """Show everything about a certificate, with its audit trail."""
    from dataclasses import asdict  # noqa: PLC0415 - light, but used only here

    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki.exports import describe_certificate  # noqa: PLC0415 - the same
    from gateway.pki.registry import audit, certificates  # noqa: PLC0415 - the same

    now = clock.now()
    with open_desk(context) as desk, desk.registry.reading() as connection:
        found = certificates.matching(connection, target)
        trails = [audit.entries(connection, serial=record.serial) for record in found]
    documents = [describe_certificate(record, now) for record in found]
    if as_json:
        print_json(
            [
                document | {"trail": [asdict(entry) for entry in trail]}
                for document, trail in zip(documents, trails, strict=True)
            ]
        )
        return
    for number, (document, trail) in enumerate(zip(documents, trails, strict=True)):
        typer.echo("", nl=number > 0)
        print_facts(document)
        for entry in trail:
            typer.echo(f"  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.action} by {entry.actor}: {entry.detail}")


def export(
    context: typer.Context,
    target: TargetArgument,
    *,
    format_: Annotated[
        Literal["pem", "der", "chain", "p7b", "key"],
        typer.Option("--format", help="chain and p7b: with the authorities; key: the private key kept with --escrow."),
    ] = "pem",
    out: Annotated[Path | None, typer.Option("--out", help="The file to write. [default: standard output]")] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Write a certificate or a private key kept with --escrow.

    The private key is encrypted with the authority's passphrase.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import exports, recovery  # noqa: PLC0415 - the same
    from gateway.pki.files import check_place, write_private, write_public  # noqa: PLC0415 - the same
    from gateway.pki.registry import authorities, certificates, search  # noqa: PLC0415 - the same

    if out is None and format_ in ("der", "p7b", "key"):
        raise UsageError(f"--format {format_} is not written to standard output", "Give --out FILE.")
    if out is not None:
        check_place(out)
    now = clock.now()
    with open_desk(context) as desk:
        with desk.registry.reading() as connection:
            record = search.one(certificates.matching(connection, target), now, target)
            above = authorities.get(connection, record.authority)
        if format_ == "key":
            recovery.check(record)  # before the passphrase is asked for
            secret = passphrase(passphrase_file, f"authority '{record.authority}'")
            data = recovery.recover(desk, record, secret, now)
        else:
            data = exports.certificates((record.der, above.certificate_der, *above.chain_der), format_)
    if out is not None:
        (write_private if format_ == "key" else write_public)(out, data)
    else:
        typer.echo(data.decode(), nl=False)


def _row(record: CertificateRecord, now: datetime) -> tuple[str, ...]:
    state, until = record.status(now), record.not_after
    if record.is_usable(now) and record.supersede_at is not None:
        until = min(until, record.supersede_at)
        year = "" if until.year == now.year else f" {until.year}"
        state = f"until {until.day} {until:%B}{year} (renewed)"
    return (
        record.serial,
        state,
        f"{until:%Y-%m-%d}",
        record.authority,
        record.purpose,
        record.email or "-",
        record.common_name,
        record.device or "-",
    )


def _row_of_other(found: dict[str, Any]) -> tuple[str, ...]:
    until = "-" if found["not_after"] is None else f"{found['not_after']:%Y-%m-%d}"
    name = found["subject"] or "(not in the registry)"
    return (found["serial"], found["state"], until, found["authority"], found["purpose"] or "-", "-", name, "-")
