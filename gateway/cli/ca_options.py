"""The options of `gateway ca init` and `gateway ca import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.desk import PARENT_VARIABLE
from gateway.pki.words import KeyKind, Signs

NameArgument = Annotated[str, typer.Argument(help="The authority's name.", metavar="NAME")]
CrlUrlOption = Annotated[
    str | None, typer.Option("--crl-url", help="http URL of the revocation list, written into certificates.")
]
OcspUrlOption = Annotated[
    str | None, typer.Option("--ocsp-url", help="http URL of the OCSP responder, written into certificates.")
]
IssuerUrlOption = Annotated[
    str | None,
    typer.Option("--issuer-url", help="http URL of the authority's certificate, written into certificates."),
]
PublishAtOption = Annotated[
    str | None,
    typer.Option("--publish-at", help="http URL of a listener with `pki: true`; sets these three URLs."),
]
CrlLifetimeOption = Annotated[str, typer.Option("--crl-lifetime", help="How long a revocation list is valid.")]
CommonNameOption = Annotated[str | None, typer.Option("--cn", help="Common name. [default: 'NAME CA']")]
OrganizationOption = Annotated[
    str | None, typer.Option("--organization", help="Organization (O), also in its certificates.")
]
CountryOption = Annotated[str | None, typer.Option("--country", help="Country (C), two letters.")]
DomainOption = Annotated[
    str | None, typer.Option("--domain", help="Sign only for this mail domain and the servers in it.")
]
ServersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--server", help="With --domain: also servers in this domain or network, or any.", metavar="NAME|NET|any"
    ),
]
KeyOption = Annotated[KeyKind, typer.Option("--key", help="Kind of key.", case_sensitive=False)]
DaysOption = Annotated[
    int | None, typer.Option("--days", help="Days of validity. [default: 2048, or until the parent ends]")
]
ParentOption = Annotated[
    str | None, typer.Option("--parent", help="The authority that signs it. [default: a new root, NAME-root]")
]
SingleOption = Annotated[
    bool,
    typer.Option("--single", help="One root that signs people and servers itself, without an authority below."),
]
SignsOption = Annotated[
    Signs | None,
    typer.Option("--signs", help="What it may sign for. [default: people]", case_sensitive=False),
]
ParentPassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--parent-passphrase-file",
        help=f"File with the passphrase of the parent or the new root; else ${PARENT_VARIABLE};"
        " else it is asked for, or for a new root it is the authority's own.",
    ),
]
