"""`gateway init`: asks a few questions and writes a configuration that `gateway check` calls good, with all its files.

Nothing is written before every question is answered, no file is overwritten, and either all files are written or none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

import typer

from gateway.cli.check import DEFAULT_CONFIG
from gateway.cli.init.options import (
    AdminOption,
    AssumesYesOption,
    CaKeyOption,
    CaKeyPassphraseOption,
    CaListOption,
    CaNameOption,
    CaOption,
    CertificateOption,
    ConfigOption,
    ContactOption,
    DomainOption,
    HostsOption,
    InsideOption,
    KeyKindOption,
    KeyOption,
    KindOption,
    ListenOption,
    MailServerCaOption,
    MailServerOption,
    OrganizationOption,
    PassphraseOption,
    PathsOption,
    RedirectOption,
    UserOption,
)
from gateway.errors import UsageError
from gateway.pki.words import KeyKind

if TYPE_CHECKING:
    from gateway.cli.init.answers import Given, Settings

_HTTPS: Final = ":443"
_HTTPS_UNPRIVILEGED: Final = ":8443"
_HTTP: Final = ":80"
_ADMIN: Final = "127.0.0.1:9444"
_LOWEST_OPEN_PORT: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(  # noqa: PLR0913 - a command's options
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    hosts: HostsOption = None,
    mail_server: MailServerOption = None,
    kind: KindOption = None,
    paths: PathsOption = None,
    mail_server_ca: MailServerCaOption = None,
    domain: DomainOption = None,
    contact: ContactOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    ca_key: CaKeyOption = None,
    ca_key_passphrase: CaKeyPassphraseOption = None,
    ca_list: CaListOption = None,
    ca_name: CaNameOption = "corp",
    passphrase: PassphraseOption = None,
    organization: OrganizationOption = None,
    key_kind: KeyKindOption = KeyKind.RSA_4096,
    inside: InsideOption = None,
    listen: ListenOption = None,
    redirect: RedirectOption = None,
    admin: AdminOption = _ADMIN,
    user: UserOption = None,
    assumes_yes: AssumesYesOption = False,
) -> None:
    """Write a first configuration and its files.

    They include an authority for client certificates and a systemd unit. Asks for what no option gives. Existing files
    are not overwritten.
    """
    from gateway.cli.init import making, placing  # noqa: PLC0415 - heavy, see app
    from gateway.cli.init.answers import Given, Settings  # noqa: PLC0415 - the same
    from gateway.pki.names import check_authority_name  # noqa: PLC0415 - the same

    config = Path(os.path.abspath(config))  # noqa: PTH100 - without "..", which commands and messages would repeat
    check_authority_name(ca_name)
    _check_authority_options(ca, ca_key, ca_key_passphrase, ca_list, passphrase)
    if config.is_dir():
        raise UsageError(f"-c: {config} is a folder", f"Name a file in it: -c {quote(str(config / 'config.yaml'))}")
    placing.check_free(config.parent, [config.name])  # before any question is asked
    settings = Settings(
        config=config,
        user=making.known_user(user),
        listen=listen or _default_listen(),
        redirect=redirect or (_HTTP if (listen or _default_listen()) == _HTTPS else None),
        admin=admin,
        inside=tuple(inside or ()),
        mail_server_ca=_absolute(mail_server_ca),
        ca_name=ca_name,
        ca_key=ca_key,
        ca_key_passphrase=ca_key_passphrase,
        ca_list=_absolute(ca_list),
        passphrase=passphrase,
        organization=organization,
        key_kind=key_kind,
    )
    given = Given(
        hosts=tuple(hosts or ()),
        mail_server=mail_server,
        kind=kind,
        paths=tuple(paths or ()),
        domain=domain,
        contact=contact,
        certificate=certificate,
        key=key,
        ca=ca,
    )
    _write(given, settings, are_asked=_are_asked(assumes_yes))


def _write(given: Given, settings: Settings, *, are_asked: bool) -> None:
    """Ask what is left to ask, make everything, and put it in place."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli.init import checking, making, placing  # noqa: PLC0415 - the same
    from gateway.cli.init.answers import ask  # noqa: PLC0415 - the same
    from gateway.cli.init.closing import told  # noqa: PLC0415 - the same
    from gateway.cli.init.probe import doubt_about  # noqa: PLC0415 - the same

    folder = settings.config.parent
    if are_asked:
        typer.echo(f"This writes to {folder} after the last answer. Return accepts the answer in brackets.\n")
    answers = ask(given, settings, are_asked=are_asked)
    made = making.all_names(answers)
    if settings.config.name in {*made.placed[:-1], *made.folders}:
        cause = f"-c: gateway init writes something else named {settings.config.name}"
        raise UsageError(cause, f"Name the configuration: -c {quote(str(folder / 'config.yaml'))}")
    placing.check_free(folder, made.placed)
    program = _program()
    if are_asked:
        typer.echo("\nMaking keys and certificates …\n")
    with placing.workshop(folder) as work:
        making.make(answers, work, program, clock.now())
        checking.check(work, answers)
        placing.place(work, folder, made.placed, made.folders)
    doubt = doubt_about(answers.mail_server, settings.mail_server_ca) if are_asked else None
    typer.echo(told(answers, made, program, doubt))


def _are_asked(assumes_yes: bool) -> bool:
    if assumes_yes:
        return False
    if not sys.stdin.isatty():
        raise UsageError(
            "gateway init asks questions, but standard input is not a terminal",
            "Give --yes, --host and --mail-server; 'gateway init --help' lists the other options.",
        )
    return True


def _check_authority_options(
    ca: Path | None,
    ca_key: Path | None,
    ca_key_passphrase: Path | None,
    ca_list: Path | None,
    passphrase: Path | None,
) -> None:
    """Refuse options that would have no effect. Raises `UsageError`."""
    for option, value, needed, other in (
        ("--ca-key", ca_key, "--ca", ca),
        ("--ca-crl", ca_list, "--ca", ca),
        ("--ca-key-passphrase-file", ca_key_passphrase, "--ca-key", ca_key),
    ):
        if value is not None and other is None:
            raise UsageError(f"{option} needs {needed}", f"Add {needed}, or remove {option}.")
    if passphrase is not None and ca is not None and ca_key is None:
        raise UsageError(
            "--passphrase-file needs --ca-key, whose key it protects", "Add --ca-key, or remove --passphrase-file."
        )


def _default_listen() -> str:
    """Port 443 if this user may open it, else 8443."""
    try:
        lowest = int(_LOWEST_OPEN_PORT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        lowest = 1024
    may_open = os.geteuid() == 0 or int(_HTTPS.removeprefix(":")) >= lowest
    return _HTTPS if may_open else _HTTPS_UNPRIVILEGED


def _program() -> tuple[str, ...]:
    """The words with which this program is started again."""
    script = Path(sys.argv[0])
    if script.name == "gateway" and script.is_file():
        return (str(script.absolute()),)
    return (sys.executable, "-m", "gateway")


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()
