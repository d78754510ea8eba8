"""Options and files that the commands for new certificates share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.desk import where_of
from gateway.pki.words import KeyKind, Language, P12Format

if TYPE_CHECKING:
    from gateway.pki.delivery import Delivery
    from gateway.pki.issue import Issued
    from gateway.pki.keys import PrivateKey

CaOption = Annotated[str, typer.Option("--ca", help="The authority that signs.", metavar="NAME")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder for the files.", metavar="DIR")]
KeyOption = Annotated[KeyKind, typer.Option("--key", help="Kind of key.", case_sensitive=False)]
P12Option = Annotated[
    P12Format,
    typer.Option("--p12-format", help="compat: 3DES, for older devices; modern: AES-256.", case_sensitive=False),
]
DaysOption = Annotated[
    int | None, typer.Option("--days", help="Days of validity. [default: 397, or until the authority ends]")
]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="File with the password for p12 file and key. [default: a new, strong one]"),
]
ShowOption = Annotated[
    bool, typer.Option("--show-password", help="Print the new password instead of writing it to a file.")
]
EscrowOption = Annotated[
    bool,
    typer.Option("--escrow", help="Keep the private key in the registry, encrypted with the authority's passphrase."),
]
PathOption = Annotated[
    str, typer.Option("--path", help="The page that letter and QR code open, such as /webmail.", metavar="PATH")
]
LanguageOption = Annotated[Language, typer.Option("--language", help="The letter's language.", case_sensitive=False)]
ContactOption = Annotated[
    str | None,
    typer.Option("--contact", help="The contact in the letter. [default: pages.contact of the file given with -c]"),
]
RootOption = Annotated[bool, typer.Option("--root/--no-root", help="Let Apple devices trust the root.")]
SignCertOption = Annotated[
    Path | None, typer.Option("--sign-cert", help="Sign the Apple profile with this certificate; PEM, with its chain.")
]
SignKeyOption = Annotated[Path | None, typer.Option("--sign-key", help="The private key of --sign-cert.")]
HERE: Final = Path()
_MAX_CONTACT_CHARACTERS: Final = 200  # a line of the letter


@dataclass(frozen=True, slots=True)
class Letter:
    """What is the same in all letters of one command."""

    host: str
    page: dict[str, Any]  # fields of `Person`


def letter_options(context: typer.Context, host: str, path: str, language: Language, contact: str | None) -> Letter:
    """Check the options, --path against the rules too; without --contact, take the configuration's.

    Rules and contact are those of the file given with -c. Raises `UsageError`.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli.letter_page import check_page  # noqa: PLC0415 - the same
    from gateway.config.load import read_contact  # noqa: PLC0415 - the same
    from gateway.pki.names import check_domain, check_path, check_text  # noqa: PLC0415 - the same

    where = where_of(context)
    if contact is None and where.config is not None:
        contact = read_contact(where.config)
    if contact is not None:
        contact = check_text(contact, "contact", _MAX_CONTACT_CHARACTERS)
    host, path = check_domain(host), check_path(path)
    if where.config is not None:
        check_page(where.config, host, path, clock.now())
    return Letter(host, {"path": path, "language": language, "contact": contact})


def own_password(file: Path | None) -> str | None:
    """The password in a file for key and p12 file. Raises `UsageError`, also for a weak one."""
    from gateway.pki import files, passwords  # noqa: PLC0415 - heavy, see app

    return None if file is None else passwords.check(files.read_secret(file))


@dataclass(frozen=True, slots=True)
class Files:
    """The folder for a certificate's files, and their password."""

    out: Path
    p12_format: P12Format
    password: str | None = field(repr=False)  # None: a strong one is made
    is_shown: bool

    def check_folder(self) -> None:
        """Whether files can be written to the folder. Raises `OperationError`."""
        from gateway.pki import files  # noqa: PLC0415 - heavy, see app

        files.check_folder(self.out)

    def delivery(self, stem: str, key: PrivateKey | None) -> Delivery:
        """Certificate, key and p12 file; without a key, the certificate."""
        from gateway.pki import passwords  # noqa: PLC0415 - heavy, see app
        from gateway.pki.delivery import Delivery  # noqa: PLC0415 - the same

        if key is None:
            return Delivery(folder=self.out, stem=stem)
        return Delivery(
            folder=self.out,
            stem=stem,
            key=key,
            password=passwords.make() if self.password is None else self.password,
            p12_format=self.p12_format,
            has_password_file=self.password is None and not self.is_shown,
        )

    def report(self, delivery: Delivery, issued: Issued) -> None:
        """What was made, a line each."""
        typer.echo(f"{issued.record.serial}  {issued.record.subject}  until {issued.record.not_after:%Y-%m-%d}")
        for path in delivery.paths:
            typer.echo(f"  {path}")
        if self.is_shown and self.password is None and delivery.password is not None:
            typer.echo(f"  password: {delivery.password}")
