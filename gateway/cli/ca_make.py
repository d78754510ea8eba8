"""`gateway ca init` and `import`: make or import authorities, each with its first revocation list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli import ca_kept
from gateway.cli.ca_options import (
    CommonNameOption,
    CountryOption,
    CrlLifetimeOption,
    CrlUrlOption,
    DaysOption,
    DomainOption,
    IssuerUrlOption,
    KeyOption,
    NameArgument,
    OcspUrlOption,
    OrganizationOption,
    ParentOption,
    ParentPassphraseFileOption,
    PublishAtOption,
    ServersOption,
    SignsOption,
    SingleOption,
)
from gateway.cli.desk import PARENT_VARIABLE, PassphraseOption, duration, located_here, open_desk, passphrase
from gateway.errors import UsageError
from gateway.pki.words import KeyKind, Signs

if TYPE_CHECKING:
    from gateway.pki.authority import Authority, Plan, Urls
    from gateway.pki.desk import Desk

_DEFAULT_CRL_LIFETIME: Final = "30d"


def init(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    name: NameArgument,
    *,
    common_name: CommonNameOption = None,
    organization: OrganizationOption = None,
    country: CountryOption = None,
    domain: DomainOption = None,
    servers: ServersOption = None,
    key: KeyOption = KeyKind.RSA_4096,
    days: DaysOption = None,
    parent: ParentOption = None,
    is_single: SingleOption = False,
    signs: SignsOption = None,
    passphrase_file: PassphraseOption = None,
    parent_passphrase_file: ParentPassphraseFileOption = None,
    crl_url: CrlUrlOption = None,
    ocsp_url: OcspUrlOption = None,
    issuer_url: IssuerUrlOption = None,
    publish_at: PublishAtOption = None,
    crl_lifetime: CrlLifetimeOption = _DEFAULT_CRL_LIFETIME,
) -> None:
    """Make an authority and its first revocation list.

    Without --parent or --single, a new root is made too, and signs the authority.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority  # noqa: PLC0415 - the same
    from gateway.pki import crl as lists  # noqa: PLC0415 - the same

    if is_single and (parent is not None or signs not in (None, Signs.ALL)):
        raise UsageError(
            "--single makes a root that signs everything", "Don't combine --single with --parent or --signs."
        )
    crl_url, ocsp_url, issuer_url = _addresses(publish_at, name, (crl_url, ocsp_url, issuer_url))
    plan = authority.Plan(
        name=name,
        signs=Signs.ALL if is_single else signs or Signs.PEOPLE,
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
    root_crl, _, root_issuer = _addresses(publish_at, f"{name}{authority.ROOT_SUFFIX}", (None, None, None))
    urls = authority.Urls(root_crl, root_issuer)
    with open_desk(context, may_make=True) as desk:
        if is_single or parent is not None:
            made = [_make(desk, plan, parent, (passphrase_file, parent_passphrase_file))]
        else:
            made = _make_with_root(desk, plan, urls, (passphrase_file, parent_passphrase_file))
        for each in made:
            lists.renew(desk, each, clock.now())
        _tell(desk, *(each.name for each in made))
    ca_kept.tell(context, name, passphrase_file)


def _make(desk: Desk, plan: Plan, parent: str | None, secrets: tuple[Path | None, Path | None]) -> Authority:
    """An authority below `parent`, or a root. `secrets`: the files with its passphrase and with the parent's."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority  # noqa: PLC0415 - the same

    authority.check(desk, plan, clock.now(), None if parent is None else authority.locked(desk, parent).record)
    # Everything else is checked before a passphrase is asked for.
    own_file, parent_file = secrets
    above = None
    if parent is not None:
        secret = passphrase(parent_file, f"authority '{parent}'", variable=PARENT_VARIABLE)
        above = authority.unlock(desk, parent, secret)
    return authority.create(desk, plan, _new_secret(own_file, plan.name), clock.now(), above)


def _make_with_root(
    desk: Desk, plan: Plan, root_urls: Urls, secrets: tuple[Path | None, Path | None]
) -> list[Authority]:
    """An authority and a new root above it. `secrets`: the files with its passphrase and with the root's."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority  # noqa: PLC0415 - the same

    authority.check_with_root(desk, plan, clock.now(), root_urls)
    own_file, root_file = secrets
    secret = _new_secret(own_file, plan.name)
    both = authority.Secrets(secret, _root_secret(root_file, secret))
    return authority.create_with_root(desk, plan, both, clock.now(), root_urls)


def _new_secret(file: Path | None, name: str) -> str:
    return passphrase(file, f"the new authority '{name}'", is_new=True)


def _root_secret(file: Path | None, own: str) -> str:
    """The passphrase of a new root: from its file or variable, else the authority's own."""
    if file is None and PARENT_VARIABLE not in os.environ:
        return own
    return passphrase(file, "the new root", variable=PARENT_VARIABLE)


def take_in(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    name: NameArgument,
    *,
    certificate: Annotated[
        Path, typer.Option("--cert", help="Its certificate, then those of the authorities above it; PEM.")
    ],
    key: Annotated[Path, typer.Option("--key", help="Its private key, PEM; encrypted as openssl can, or not.")],
    key_passphrase_file: Annotated[
        Path | None, typer.Option("--key-passphrase-file", help="File with the passphrase that opens the key now.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    crl_file: Annotated[
        Path | None, typer.Option("--crl", help="Its newest revocation list; certificates on it stay revoked.")
    ] = None,
    crl_url: CrlUrlOption = None,
    ocsp_url: OcspUrlOption = None,
    issuer_url: IssuerUrlOption = None,
    publish_at: PublishAtOption = None,
    crl_lifetime: CrlLifetimeOption = _DEFAULT_CRL_LIFETIME,
) -> None:
    """Import an existing authority, such as one made with openssl."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import crl as lists  # noqa: PLC0415 - the same
    from gateway.pki import files, intake  # noqa: PLC0415 - the same

    crl_url, ocsp_url, issuer_url = _addresses(publish_at, name, (crl_url, ocsp_url, issuer_url))
    with open_desk(context, may_make=True) as desk:
        asked = intake.Intake(
            name=name,
            certificate_pem=files.read(certificate),
            key_pem=files.read(key),
            key_passphrase=None if key_passphrase_file is None else files.read_secret(key_passphrase_file),
            crl=None if crl_file is None else files.read(crl_file),
            crl_url=crl_url,
            ocsp_url=ocsp_url,
            issuer_url=issuer_url,
            crl_lifetime=duration(crl_lifetime, "--crl-lifetime"),
        )
        intake.check(desk, asked, clock.now())  # before a passphrase is asked for
        secret = passphrase(passphrase_file, f"authority '{name}' (encrypts its key here)", is_new=True)
        taken = intake.take_in(desk, asked, secret, clock.now())
        lists.renew(desk, taken, clock.now())
        _tell(desk, name)
    if crl_file is None:
        typer.echo(located_here(context, intake.without_list(name)), err=True)
    ca_kept.tell(context, name, passphrase_file)


def _addresses(base: str | None, name: str, given: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """URLs of list, responder and certificate: as given, else below `base`. Raises `UsageError`."""
    from gateway.http.published import addresses  # noqa: PLC0415 - heavy, see app
    from gateway.pki.names import check_http_url  # noqa: PLC0415 - the same

    if base is None:
        return given
    root = check_http_url(base, "address to publish at").rstrip("/")
    if "/" in root.removeprefix("http://"):
        raise UsageError(f"'{base}' has a path", "Write only scheme, host and port, like http://pki.example.com.")
    return tuple(own or one for own, one in zip(given, addresses(root, name), strict=True))


def _tell(desk: Desk, name: str, root: str | None = None) -> None:
    typer.echo(f"certificate: {desk.file(name, 'crt')}\nlist:        {desk.file(name, 'crl')}")
    typer.echo(f"key:         {desk.file(name, 'key')} (encrypted; keep a copy of it and of the passphrase elsewhere)")
    if root is not None:
        typer.echo(f"root:        {desk.file(root, 'crt')} (for devices to trust)")
        typer.echo(f"root's key:  {desk.file(root, 'key')} (encrypted; move it to a safe place: it is rarely needed)")
