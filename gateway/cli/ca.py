"""`gateway ca`: authorities. Made, taken in, shown, exported; their revocation lists and OCSP signers renewed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from gateway.cli.desk import (
    PARENT_VARIABLE,
    JsonOption,
    PassphraseOption,
    duration,
    open_desk,
    passphrase,
    print_facts,
    print_json,
    print_table,
    take_where,
    unlock,
)
from gateway.errors import UsageError
from gateway.pki.words import KeyKind

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.pki.desk import Desk
    from gateway.pki.registry.records import AuthorityRecord

_DEFAULT_CRL_LIFETIME: Final = "30d"

NameArgument = Annotated[str, typer.Argument(help="What the authority is called.", metavar="NAME")]
CrlUrlOption = Annotated[str | None, typer.Option("--crl-url", help="http URL of the list, put into certificates.")]
OcspUrlOption = Annotated[str | None, typer.Option("--ocsp-url", help="http URL of the OCSP responder, the same.")]
IssuerUrlOption = Annotated[
    str | None, typer.Option("--issuer-url", help="http URL of the authority's certificate, the same.")
]
PublishAtOption = Annotated[
    str | None,
    typer.Option("--publish-at", help="Where a listener with `pki: true` is reached: sets all three addresses."),
]
CrlLifetimeOption = Annotated[str, typer.Option("--crl-lifetime", help="How long a revocation list is good.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Certificate authorities.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(take_where)
    for name, command in (
        ("init", init),
        ("import", take_in),
        ("list", list_),
        ("show", show),
        ("export", export),
        ("crl", crl),
        ("ocsp", ocsp),
    ):
        group.command(name)(command)
    app.add_typer(group, name="ca")


def init(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    name: NameArgument,
    *,
    common_name: Annotated[str | None, typer.Option("--cn", help="Common name. [default: 'NAME CA']")] = None,
    organization: Annotated[str | None, typer.Option("--organization", help="O, also of what it issues.")] = None,
    country: Annotated[str | None, typer.Option("--country", help="C, two letters.")] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="The one mail domain it may sign for, with the servers in it.")
    ] = None,
    servers: Annotated[
        list[str] | None,
        typer.Option(
            "--server", help="With --domain: servers of this domain or network too, or of any.", metavar="NAME|NET|any"
        ),
    ] = None,
    key: Annotated[KeyKind, typer.Option("--key", help="Kind of key.", case_sensitive=False)] = KeyKind.RSA_4096,
    days: Annotated[
        int | None, typer.Option("--days", help="How long it is good. [default: 2048, or what the parent has left]")
    ] = None,
    parent: Annotated[str | None, typer.Option("--parent", help="The authority above; none: a root.")] = None,
    passphrase_file: PassphraseOption = None,
    parent_passphrase_file: Annotated[
        Path | None,
        typer.Option("--parent-passphrase-file", help=f"The parent's; else ${PARENT_VARIABLE}, else asked for."),
    ] = None,
    crl_url: CrlUrlOption = None,
    ocsp_url: OcspUrlOption = None,
    issuer_url: IssuerUrlOption = None,
    publish_at: PublishAtOption = None,
    crl_lifetime: CrlLifetimeOption = _DEFAULT_CRL_LIFETIME,
) -> None:
    """Make an authority and its first, empty revocation list."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority  # noqa: PLC0415 - the same
    from gateway.pki import crl as lists  # noqa: PLC0415 - the same

    crl_url, ocsp_url, issuer_url = _addresses(publish_at, name, (crl_url, ocsp_url, issuer_url))
    plan = authority.Plan(
        name=name,
        common_name=common_name,
        organization=organization,
        country=country,
        domain=domain,
        servers=tuple(servers or ()),
        kind=key,
        days=days,
        crl_url=crl_url,
        ocsp_url=ocsp_url,
        issuer_url=issuer_url,
        crl_lifetime=duration(crl_lifetime, "--crl-lifetime"),
    )
    with open_desk(context, may_make=True) as desk:
        above = None
        if parent is not None:
            authority.load(desk, parent)
            secret = passphrase(parent_passphrase_file, f"authority '{parent}'", variable=PARENT_VARIABLE)
            above = authority.unlock(desk, parent, secret)
        secret = passphrase(passphrase_file, f"the new authority '{name}'", is_new=True)
        made = authority.create(desk, plan, secret, clock.now(), above)
        lists.renew(desk, made, clock.now())
        _tell(desk, name)


def take_in(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    name: NameArgument,
    *,
    certificate: Annotated[
        Path, typer.Option("--cert", help="Its certificate, then those of the authorities above it; PEM.")
    ],
    key: Annotated[Path, typer.Option("--key", help="Its key, PEM; encrypted in any way openssl has.")],
    key_passphrase_file: Annotated[
        Path | None, typer.Option("--key-passphrase-file", help="The passphrase of the key as it is now.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    crl_file: Annotated[
        Path | None, typer.Option("--crl", help="Its newest revocation list: who is on it stays refused.")
    ] = None,
    crl_url: CrlUrlOption = None,
    ocsp_url: OcspUrlOption = None,
    issuer_url: IssuerUrlOption = None,
    publish_at: PublishAtOption = None,
    crl_lifetime: CrlLifetimeOption = _DEFAULT_CRL_LIFETIME,
) -> None:
    """Take in an authority that openssl made."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import crl as lists  # noqa: PLC0415 - the same
    from gateway.pki import files, intake  # noqa: PLC0415 - the same

    crl_url, ocsp_url, issuer_url = _addresses(publish_at, name, (crl_url, ocsp_url, issuer_url))
    with open_desk(context, may_make=True) as desk:
        secret = passphrase(passphrase_file, f"authority '{name}', to keep its key under")
        old = secret if key_passphrase_file is None else files.read_secret(key_passphrase_file)
        asked = intake.Intake(
            name=name,
            certificate_pem=files.read(certificate),
            key_pem=files.read(key),
            key_passphrase=old,
            crl=None if crl_file is None else files.read(crl_file),
            crl_url=crl_url,
            ocsp_url=ocsp_url,
            issuer_url=issuer_url,
            crl_lifetime=duration(crl_lifetime, "--crl-lifetime"),
        )
        taken = intake.take_in(desk, asked, secret, clock.now())
        lists.renew(desk, taken, clock.now())
        _tell(desk, name)


def list_(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Every authority."""
    from gateway.pki.registry import authorities  # noqa: PLC0415 - heavy, see app

    with open_desk(context) as desk:
        with desk.registry.reading() as connection:
            records = authorities.all_of(connection)
        documents = [_document(desk, record) for record in records]
    if as_json:
        print_json(documents)
        return
    columns = ("NAME", "PARENT", "DOMAIN", "UNTIL", "LIST UNTIL", "SUBJECT")
    print_table(
        columns,
        [
            (
                record.name,
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
    """One authority, with where its files are."""
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
        typer.Option("--format", help="der is what Windows opens; chain and p7b hold those above too."),
    ] = "pem",
    out: Annotated[Path | None, typer.Option("--out", help="The file to write. [default: standard output]")] = None,
) -> None:
    """The authority's certificate, for those who shall trust it."""
    from gateway.pki import authority, exports  # noqa: PLC0415 - heavy, see app
    from gateway.pki.files import write_public  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        record = authority.load(desk, name)
    data = exports.certificates((record.certificate_der, *record.chain_der), format_)
    if out is not None:
        write_public(out, data)
    elif format_ in ("der", "p7b"):
        raise UsageError(f"{format_} is binary", "Name a file with --out.")
    else:
        typer.echo(data.decode(), nl=False)


def crl(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Authorities. [default: those that --due finds]")] = None,
    *,
    is_due_only: Annotated[bool, typer.Option("--due", help="Only lists that are running out.")] = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Write new revocation lists."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import crl as lists  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        with desk.registry.reading() as connection:
            due = lists.due(connection, clock.now())
        chosen = names or due
        for name in chosen:
            if is_due_only and name not in due:
                continue
            made = lists.renew(desk, unlock(desk, name, passphrase_file), clock.now())
            typer.echo(f"{desk.file(name, 'crl')}: good until {made.next_update_utc:%Y-%m-%d %H:%M} UTC")


def ocsp(context: typer.Context, name: NameArgument, *, passphrase_file: PassphraseOption = None) -> None:
    """Make the delegated certificate that signs OCSP answers, for a month."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki.ocsp_signer import make_signer  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        signer = make_signer(desk, unlock(desk, name, passphrase_file), clock.now())
        until = f"{signer.certificate.not_valid_after_utc:%Y-%m-%d}"
        typer.echo(f"{desk.file(name, 'ocsp.crt')}: good until {until}")


def _addresses(base: str | None, name: str, given: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """List, responder and certificate: as given, else on the gateway's own listener. Raises `UsageError`."""
    from gateway.http.published import addresses  # noqa: PLC0415 - heavy, see app
    from gateway.pki.names import check_http_url  # noqa: PLC0415 - the same

    if base is None:
        return given
    root = check_http_url(base, "address to publish at").rstrip("/")
    if "/" in root.removeprefix("http://"):
        raise UsageError(f"'{base}' has a path", "Write scheme, host and port alone, like http://pki.example.com.")
    return tuple(own or one for own, one in zip(given, addresses(root, name), strict=True))


def _tell(desk: Desk, name: str) -> None:
    typer.echo(f"certificate: {desk.file(name, 'crt')}\nlist:        {desk.file(name, 'crl')}")
    typer.echo(f"key:         {desk.file(name, 'key')} (encrypted; keep a copy of it and of the passphrase elsewhere)")


def _document(desk: Desk, record: AuthorityRecord) -> dict[str, Any]:
    from gateway.pki.exports import describe_authority  # noqa: PLC0415 - heavy, see app

    return describe_authority(desk, record)


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d}"
