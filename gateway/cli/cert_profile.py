"""`gateway cert profile`: a device kit for a person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.access import exists
from gateway.cli.cert_files import (
    ContactOption,
    LanguageOption,
    PathOption,
    RootOption,
    SignCertOption,
    SignKeyOption,
    letter_options,
)
from gateway.cli.desk import open_desk
from gateway.errors import UsageError
from gateway.pki.words import KitKind, Language

_MAX_LOGIN_CHARACTERS: Final = 320  # an address' 64, '@' and 255; Windows' own are shorter

if TYPE_CHECKING:
    from cryptography import x509

    from gateway.pki.desk import Desk
    from gateway.pki.kits.kit import KitFile, Person
    from gateway.pki.registry.records import CertificateRecord


def profile(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="The person's e-mail address, or a serial.", metavar="EMAIL|SERIAL")],
    *,
    kind: Annotated[KitKind, typer.Option("--kind", help="Device or program.", case_sensitive=False)],
    host: Annotated[str, typer.Option("--host", help="The gateway's host name.")],
    p12: Annotated[Path, typer.Option("--p12", help="The person's p12 file.", metavar="FILE")],
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            help="File with the p12 file's password. [default: the .password file or passwords.csv beside it]",
            metavar="FILE",
        ),
    ] = None,
    user_name: Annotated[str | None, typer.Option("--user-name", help="Mail login. [default: the address]")] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder for the kit.", metavar="DIR")] = Path("kit"),
    has_password: Annotated[
        bool, typer.Option("--include-password", help="Put the password into the kit: anyone with the kit gets in.")
    ] = False,
    has_root: RootOption = True,
    page: PathOption = "/",
    language: LanguageOption = Language.ENGLISH,
    contact: ContactOption = None,
    sign_cert: SignCertOption = None,
    sign_key: SignKeyOption = None,
) -> None:
    """Make a kit that installs a person's certificate on a device."""
    from gateway.pki.files import read  # noqa: PLC0415 - heavy, see app
    from gateway.pki.kits import build  # noqa: PLC0415 - the same

    data = read(p12)
    password = _password(p12, password_file)
    letter = letter_options(context, host, page, language, contact)
    with open_desk(context) as desk:
        person = replace(_person(desk, email, letter.host, (p12, data, password), user_name), **letter.page)
    files = build.build(build.with_password(person, password) if has_password else person, kind, has_root=has_root)
    for path in build.write(signed(files, sign_cert, sign_key), out):
        typer.echo(path)


def _person(desk: Desk, target: str, host: str, p12: tuple[Path, bytes, str], user_name: str | None) -> Person:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import pkcs12  # noqa: PLC0415 - the same
    from gateway.pki.kits.kit import Person  # noqa: PLC0415 - the same
    from gateway.pki.names import check_text  # noqa: PLC0415 - the same
    from gateway.pki.registry import authorities, certificates  # noqa: PLC0415 - the same
    from gateway.x509.loading import certificate_in  # noqa: PLC0415 - the same

    now = clock.now()
    file, data, password = p12
    certificate = pkcs12.open_(data, password, str(file))[1]
    with desk.registry.reading() as connection:
        record = _in_file(certificates.matching(connection, target), certificate, file, target)
        above = authorities.get(connection, record.authority)
    if not record.is_usable(now):
        raise UsageError(
            f"certificate {record.serial} is {record.status(now)}", "Give the p12 file of a valid certificate."
        )
    if record.email is None:
        raise UsageError(
            f"certificate {record.serial} is not for a person", "Give the address or serial of a person's certificate."
        )
    if record.supersede_at is not None:
        end = min(record.supersede_at, record.not_after)
        note = f"certificate {record.serial} was renewed and is valid only until {end:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"note: {file}: {note}; make the kit from the p12 file of its renewal", err=True)
    return Person(
        email=record.email,
        name=record.common_name,
        host=host,
        user_name=record.email if user_name is None else check_text(user_name, "mail login", _MAX_LOGIN_CHARACTERS),
        certificate=certificate,
        chain=tuple(map(certificate_in, (above.certificate_der, *above.chain_der))),
        p12=data,
        purpose=record.purpose,
        device=record.device,
    )


def _password(p12: Path, file: Path | None) -> str:
    """The p12 file's password: from `file`, or from the file that `issue`, `renew` or `import` wrote beside it."""
    from gateway.pki.batch import PASSWORDS_FILE  # noqa: PLC0415 - heavy, see app
    from gateway.pki.files import read_secret  # noqa: PLC0415 - the same
    from gateway.pki.password_list import PasswordList  # noqa: PLC0415 - the same

    beside = p12.with_suffix(".password")
    if file is not None or exists(beside):
        return read_secret(file or beside)
    lines = PasswordList(p12.parent / PASSWORDS_FILE).lines()
    if (found := next((line for line in lines if line.file == p12.name), None)) is not None:
        return found.password
    raise UsageError(f"there is no password for {p12} beside it", "Give it with --password-file FILE.")


def _in_file(
    found: list[CertificateRecord], certificate: x509.Certificate, p12: Path, target: str
) -> CertificateRecord:
    """The certificate in `found` that is in the p12 file. Raises `UsageError`."""
    from gateway.pki.registry.certificates import serials  # noqa: PLC0415 - heavy, see app
    from gateway.x509.loading import certificate_in  # noqa: PLC0415 - the same
    from gateway.x509.serials import serial_text  # noqa: PLC0415 - the same

    for record in found:
        if certificate_in(record.der) == certificate:
            return record
    raise UsageError(
        f"{p12}: holds certificate {serial_text(certificate.serial_number)}, which does not belong to '{target}'",
        f"Give the p12 file of {serials(found)}.",
    )


def signed(files: list[KitFile], certificate: Path | None, key: Path | None) -> list[KitFile]:
    """The files, their Apple profile signed where certificate and key are given. Raises `UsageError`."""
    if certificate is None and key is None:
        return files
    if certificate is None or key is None:
        raise UsageError("--sign-cert and --sign-key belong together", "Give both, or neither.")
    from gateway.pki import files as desk_files  # noqa: PLC0415 - heavy, see app
    from gateway.pki.kits import apple  # noqa: PLC0415 - the same

    return apple.sign_profiles(files, desk_files.read(certificate), desk_files.read(key), str(key))
