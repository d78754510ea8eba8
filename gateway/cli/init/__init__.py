"""`gateway init`: asks a few questions and writes a configuration that `gateway check` calls good, with all its files.

Nothing is written before every question is answered, no file is overwritten, and either all files are written or none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.check import DEFAULT_CONFIG
from gateway.cli.init.servers import ServerKind
from gateway.errors import UsageError
from gateway.pki.words import KeyKind

_HTTPS: Final = ":443"
_HTTPS_UNPRIVILEGED: Final = ":8443"
_HTTP: Final = ":80"
_ADMIN: Final = "127.0.0.1:9444"
_LOWEST_OPEN_PORT: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(  # noqa: PLR0913 - a command's options
    config: Annotated[
        Path,
        typer.Option("-c", "--config", help="The configuration to write; the rest goes beside it.", metavar="FILE"),
    ] = DEFAULT_CONFIG,
    *,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", help="The host name that people open; may be repeated.", metavar="NAME"),
    ] = None,
    mail_server: Annotated[
        str | None, typer.Option("--mail-server", help="The mail server, such as https://10.0.0.5", metavar="URL")
    ] = None,
    kind: Annotated[
        ServerKind | None,
        typer.Option("--server-kind", help="Kind of mail server. [default: other]", case_sensitive=False),
    ] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            help="A path open from outside with a certificate; may be repeated. [default: from --server-kind]",
            metavar="PATH",
        ),
    ] = None,
    mail_server_ca: Annotated[
        Path | None, typer.Option("--mail-server-ca", help="The CA of the mail server's certificate.", metavar="FILE")
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--mail-domain", help="The domain of the mail addresses. [default: the host's]", metavar="NAME"),
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option("--contact", help="Shown to people who are refused. [default: postmaster@ the domain]"),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="The host's certificate. [default: a test certificate]", metavar="FILE"),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The private key of --certificate.", metavar="FILE")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", help="The certificate of an existing authority. [default: a new one is made]", metavar="FILE"
        ),
    ] = None,
    ca_key: Annotated[
        Path | None, typer.Option("--ca-key", help="The key of --ca: import it, to issue here.", metavar="FILE")
    ] = None,
    ca_key_passphrase: Annotated[
        Path | None,
        typer.Option("--ca-key-passphrase-file", help="File with the passphrase of --ca-key.", metavar="FILE"),
    ] = None,
    ca_list: Annotated[
        Path | None, typer.Option("--ca-crl", help="The newest revocation list of --ca.", metavar="FILE")
    ] = None,
    ca_name: Annotated[str, typer.Option("--ca-name", help="The authority's name in commands.")] = "corp",
    passphrase: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file", help="File with the authority's passphrase. [default: a new one]", metavar="FILE"
        ),
    ] = None,
    organization: Annotated[str | None, typer.Option("--organization", help="Organization in certificates.")] = None,
    key_kind: Annotated[
        KeyKind, typer.Option("--key-kind", help="Kind of the authority's key.", case_sensitive=False)
    ] = KeyKind.RSA_4096,
    inside: Annotated[
        list[str] | None,
        typer.Option(
            "--inside",
            help="A network whose clients need no certificate; may be repeated. [default: loopback and private ones]",
            metavar="NET",
        ),
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="Address for HTTPS. [default: :443, or :8443 if the user may not]")
    ] = None,
    redirect: Annotated[
        str | None,
        typer.Option("--redirect", help="Address for HTTP, redirected to HTTPS. [default: :80 with :443]"),
    ] = None,
    admin: Annotated[str, typer.Option("--admin", help="Address for `gateway status`.")] = _ADMIN,
    user: Annotated[
        str | None,
        typer.Option("--user", help="The user that the gateway becomes if root starts it. [default: gateway]"),
    ] = None,
    assumes_yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; use the options, and defaults for the rest.")
    ] = False,
) -> None:
    """Write a first configuration and its files.

    They include an authority for client certificates and a systemd unit. Asks for what no option gives. Existing files
    are not overwritten.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli.init import checking, making, placing  # noqa: PLC0415 - the same
    from gateway.cli.init.answers import Given, Settings, ask  # noqa: PLC0415 - the same
    from gateway.cli.init.closing import told  # noqa: PLC0415 - the same
    from gateway.cli.init.probe import doubt_about  # noqa: PLC0415 - the same
    from gateway.pki.names import check_authority_name  # noqa: PLC0415 - the same

    config = Path(os.path.abspath(config))  # noqa: PTH100 - without "..", which commands and messages would repeat
    check_authority_name(ca_name)
    _check_authority_options(ca, ca_key, ca_key_passphrase, ca_list, passphrase)
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
    are_asked = _are_asked(assumes_yes)
    if are_asked:
        typer.echo(f"This writes to {config.parent} after the last answer. Return accepts the answer in brackets.\n")
    answers = ask(given, settings, are_asked=are_asked)
    made = making.all_names(answers)
    placing.check_free(config.parent, made.placed)
    program = _program()
    if are_asked:
        typer.echo("\nMaking keys and certificates …\n")
    with placing.workshop(config.parent) as work:
        making.make(answers, work, program, clock.now())
        checking.check(work, answers)
        placing.place(work, config.parent, made.placed, made.folders)
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
