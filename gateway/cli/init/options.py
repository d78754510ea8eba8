"""The options of `gateway init`: one for each answer, and those for values that are never asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.init.servers import ServerKind
from gateway.pki.words import KeyKind

ConfigOption = Annotated[
    Path,
    typer.Option("-c", "--config", help="The configuration to write; the rest goes beside it.", metavar="FILE"),
]
HostsOption = Annotated[
    list[str] | None,
    typer.Option("--host", help="The host name that people open; may be repeated.", metavar="NAME"),
]
MailServerOption = Annotated[
    str | None, typer.Option("--mail-server", help="The mail server, such as https://10.0.0.5", metavar="URL")
]
KindOption = Annotated[
    ServerKind | None,
    typer.Option("--server-kind", help="Kind of mail server. [default: other]", case_sensitive=False),
]
PathsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        help="A path open from outside with a certificate; may be repeated. [default: from --server-kind]",
        metavar="PATH",
    ),
]
MailServerCaOption = Annotated[
    Path | None, typer.Option("--mail-server-ca", help="The CA of the mail server's certificate.", metavar="FILE")
]
DomainOption = Annotated[
    str | None,
    typer.Option("--mail-domain", help="The domain of the mail addresses. [default: the host's]", metavar="NAME"),
]
ContactOption = Annotated[
    str | None,
    typer.Option("--contact", help="Shown to people who are refused. [default: postmaster@ the domain]"),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--certificate", help="The host's certificate. [default: a test certificate]", metavar="FILE"),
]
KeyOption = Annotated[Path | None, typer.Option("--key", help="The private key of --certificate.", metavar="FILE")]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", help="The certificate of an existing authority. [default: a new one is made]", metavar="FILE"),
]
CaKeyOption = Annotated[
    Path | None, typer.Option("--ca-key", help="The key of --ca: import it, to issue here.", metavar="FILE")
]
CaKeyPassphraseOption = Annotated[
    Path | None,
    typer.Option("--ca-key-passphrase-file", help="File with the passphrase of --ca-key.", metavar="FILE"),
]
CaListOption = Annotated[
    Path | None, typer.Option("--ca-crl", help="The newest revocation list of --ca.", metavar="FILE")
]
CaNameOption = Annotated[str, typer.Option("--ca-name", help="The authority's name in commands.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="File with the authority's passphrase. [default: a new one]", metavar="FILE"
    ),
]
OrganizationOption = Annotated[str | None, typer.Option("--organization", help="Organization in certificates.")]
KeyKindOption = Annotated[
    KeyKind, typer.Option("--key-kind", help="Kind of the authority's key.", case_sensitive=False)
]
InsideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--inside",
        help="A network whose clients need no certificate; may be repeated. [default: loopback and private ones]",
        metavar="NET",
    ),
]
ListenOption = Annotated[
    str | None, typer.Option("--listen", help="Address for HTTPS. [default: :443, or :8443 if the user may not]")
]
RedirectOption = Annotated[
    str | None,
    typer.Option("--redirect", help="Address for HTTP, redirected to HTTPS. [default: :80 with :443]"),
]
AdminOption = Annotated[str, typer.Option("--admin", help="Address for `gateway status`.")]
UserOption = Annotated[
    str | None,
    typer.Option("--user", help="The user that the gateway becomes if root starts it. [default: gateway]"),
]
AssumesYesOption = Annotated[
    bool, typer.Option("--yes", help="Ask nothing; use the options, and defaults for the rest.")
]
