"""`gateway cert issue`, `import` and `server`: new certificates."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.cert_files import (
    HERE,
    CaOption,
    ContactOption,
    DaysOption,
    EscrowOption,
    Files,
    KeyOption,
    LanguageOption,
    OutOption,
    P12Option,
    PasswordOption,
    PathOption,
    RootOption,
    ShowOption,
    SignCertOption,
    SignKeyOption,
    letter_options,
    own_password,
)
from gateway.cli.cert_profile import signed
from gateway.cli.desk import PassphraseOption, is_given, open_desk, unlock, unlock_with
from gateway.commands import quoted
from gateway.errors import OperationError, UsageError
from gateway.pki.registry.records import Purpose
from gateway.pki.words import CodePage, KeyKind, KitKind, Language, P12Format

if TYPE_CHECKING:
    from gateway.pki.authority import Authority
    from gateway.pki.batch import Outcome, Progress
    from gateway.pki.desk import Desk
    from gateway.pki.handout import Kits, Made
    from gateway.pki.issue import Order
    from gateway.pki.keys import PrivateKey, PublicKey

_LABELS: Final = {
    Purpose.AUTH: "auth",
    Purpose.SMIME: "smime",
    Purpose.SMIME_SIGNING: "signing",
    Purpose.SMIME_ENCRYPTION: "encryption",
}
_NAMED: Final = 10  # more certificates without a kit are only counted
# Options of `import` that only kits use, by their parameters.
_FOR_KITS: Final = {
    "host": "--host",
    "page": "--path",
    "language": "--language",
    "contact": "--contact",
    "has_root": "--root",
    "sign_cert": "--sign-cert",
    "sign_key": "--sign-key",
}


def issue(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="The person's e-mail address.", metavar="EMAIL")],
    *,
    authority: CaOption,
    name: Annotated[str | None, typer.Option("--name", help="Common name. [default: the address]")] = None,
    upn: Annotated[str | None, typer.Option("--upn", help="Windows user principal name.")] = None,
    department: Annotated[str | None, typer.Option("--department", help="Department (OU).")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Device name, if the person has several.")] = None,
    days: DaysOption = None,
    key: KeyOption = KeyKind.RSA_2048,
    is_auth_only: Annotated[bool, typer.Option("--auth-only", help="Only for logging in, not for S/MIME.")] = False,
    is_smime_only: Annotated[bool, typer.Option("--smime-only", help="Only for S/MIME, not for logging in.")] = False,
    is_separate: Annotated[bool, typer.Option("--separate", help="A separate certificate for each use.")] = False,
    csr: Annotated[Path | None, typer.Option("--csr", help="Certify the key of this request.", metavar="FILE")] = None,
    p12_format: P12Option = P12Format.COMPAT,
    out: OutOption = HERE,
    password_file: PasswordOption = None,
    is_shown: ShowOption = False,
    has_escrow: EscrowOption = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Issue a certificate to a person: certificate, key and p12 file."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority as desk_authority  # noqa: PLC0415 - the same
    from gateway.pki import issue as desk_issue  # noqa: PLC0415 - the same
    from gateway.pki import keys  # noqa: PLC0415 - the same

    purposes = _purposes(is_auth_only=is_auth_only, is_smime_only=is_smime_only, is_separate=is_separate)
    if csr is not None and (len(purposes) > 1 or has_escrow):
        raise UsageError(
            "a request has one public key and no private key", "Don't combine --separate or --escrow with --csr."
        )
    p12 = None if csr else p12_format
    options = {"p12_format": p12, "upn": upn, "department": department, "device": device, "days": days}
    files = Files(out, p12_format, None if csr else own_password(password_file), is_shown)
    files.check_folder()
    requested = None if csr is None else _requested(csr, email)
    with open_desk(context) as desk:
        _note_revoked(desk, email, device, purposes)
        _note_authority(desk, authority)
        locked, now = desk_authority.locked(desk, authority), clock.now()
        orders = [desk_issue.Order.of_person(email, name, purpose=purpose, **options) for purpose in purposes]
        orders = [desk_issue.check(desk, locked, order, now) for order in orders]
        # The passphrase is asked for last.
        signer, secret = unlock_with(desk, authority, passphrase_file)
        for order in orders:
            kept = replace(order, escrow=secret if has_escrow else None)
            _issue(desk, signer, kept, keys.make(key) if requested is None else requested, files)


def server(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    hosts: Annotated[list[str], typer.Argument(help="Names and addresses of the server.", metavar="HOST...")],
    *,
    authority: CaOption,
    days: DaysOption = None,
    key: KeyOption = KeyKind.ECDSA_P256,
    out: OutOption = HERE,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Issue a certificate to a server, for tests and internal names.

    Its key isn't encrypted, so that the server can start unattended.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority as desk_authority  # noqa: PLC0415 - the same
    from gateway.pki import hosts as host_names  # noqa: PLC0415 - the same
    from gateway.pki import issue as desk_issue  # noqa: PLC0415 - the same
    from gateway.pki import keys  # noqa: PLC0415 - the same
    from gateway.pki.delivery import Delivery  # noqa: PLC0415 - the same
    from gateway.pki.file_names import file_stem  # noqa: PLC0415 - the same

    names = host_names.check(hosts)
    order = desk_issue.Order(
        email=None, common_name=str(names[0].value), purpose=Purpose.SERVER, days=days, hosts=tuple(names)
    )
    files = Files(out, P12Format.COMPAT, None, is_shown=False)
    files.check_folder()
    with open_desk(context) as desk:
        signing = desk_authority.signer_for(desk, authority, Purpose.SERVER)
        desk_issue.check(desk, desk_authority.locked(desk, signing), order, clock.now())
        signer = unlock(desk, signing, passphrase_file)
        own = keys.make(key)
        delivery = Delivery(folder=out, stem=file_stem(order.common_name), key=own)
        issued = desk_issue.issue(desk, signer, order, own, clock.now(), delivery)
        files.report(delivery, issued)
        if signer.name != authority:
            typer.echo(f"signed by '{signer.name}': '{authority}' may not sign for servers", err=True)


def import_(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    csv_file: Annotated[
        Path, typer.Argument(help="The users: CSV or .xlsx, as Excel, Outlook, AD or Google export it.", metavar="FILE")
    ],
    *,
    authority: CaOption,
    out: Annotated[Path, typer.Option("--out", help="The folder for p12 files and passwords.csv.", metavar="DIR")],
    key: KeyOption = KeyKind.RSA_2048,
    p12_format: P12Option = P12Format.COMPAT,
    reissues_revoked: Annotated[
        bool,
        typer.Option("--reissue-revoked", help="Also issue to people who were revoked. [default: refuse their rows]"),
    ] = False,
    code_page: Annotated[
        CodePage | None,
        typer.Option("--encoding", help="The code page of a CSV file that is not UTF-8.", case_sensitive=False),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--kind", help="Also make these kits and letters, such as ios,windows.", metavar="KINDS"),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="The gateway's host name, for kits.")] = None,
    page: PathOption = "/",
    language: LanguageOption = Language.ENGLISH,
    contact: ContactOption = None,
    has_root: RootOption = True,
    sign_cert: SignCertOption = None,
    sign_key: SignKeyOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Issue a certificate to each user in a CSV file or Excel workbook. A second run makes only what is missing.

    Exit code 1: not all kits could be made.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority as desk_authority  # noqa: PLC0415 - the same
    from gateway.pki import batch, handout  # noqa: PLC0415 - the same

    kits = None
    if kinds is not None:
        if host is None:
            raise UsageError("kits need the gateway's name", "Give --host mail.example.com.")
        letter = letter_options(context, host, page, language, contact)
        sign = partial(signed, certificate=sign_cert, key=sign_key)
        sign([])  # raises where certificate and key can't be used, before anything is issued
        kits = handout.Kits(kinds=_kinds(kinds), host=letter.host, has_root=has_root, sign=sign, **letter.page)
    else:
        _refuse_kit_options(context)
    wanted = batch.Batch(
        csv_file=csv_file,
        out=out,
        kind=key,
        p12_format=p12_format,
        reissues_revoked=reissues_revoked,
        code_page=code_page,
        kits=kits,
    )
    with (
        open_desk(context) as desk,
        batch.checked(desk, desk_authority.locked(desk, authority), wanted, clock.now()) as ready,
    ):
        _note_authority(desk, authority)
        signer = unlock(desk, authority, passphrase_file)
        began = clock.monotonic_seconds()  # from here on no input is waited for
        with _progress() as progress:
            outcome = batch.run(ready, signer, clock.now, progress)
    _report(outcome, csv_file, out, clock.monotonic_seconds() - began)
    if kits is not None and outcome.handed_out.without:
        raise _without_kits(outcome.handed_out, kits, out)


def _refuse_kit_options(context: typer.Context) -> None:
    """Refuse an option that only kits use. Raises `UsageError`."""
    for name, option in _FOR_KITS.items():
        if is_given(context, name):
            raise UsageError(f"{option} needs --kind", f"Add --kind, such as --kind ios,windows, or remove {option}.")


def _report(outcome: Outcome, csv_file: Path, out: Path, seconds: float) -> None:
    from gateway.pki import batch, handout  # noqa: PLC0415 - heavy, see app

    for note in outcome.notes:
        typer.echo(f"{csv_file}: {note}", err=True)
    typer.echo(f"{outcome.issued} issued in {seconds:.1f} s, {outcome.present} already existed")
    if outcome.issued:
        typer.echo(f"{out / batch.PASSWORDS_FILE}: the passwords; send each apart from its file, then delete this list")
    made = outcome.handed_out
    if made.kits:
        beside = f", beside {made.earlier} of earlier runs" if made.earlier else ""
        typer.echo(f"{out / handout.LIST_FILE}: {made.kits} kits with their letters, for a mail merge{beside}")
    for record in made.without[:_NAMED]:
        typer.echo(f"{record.email}: no kit for certificate {record.serial}", err=True)
    if (more := len(made.without) - _NAMED) > 0:
        typer.echo(f"and {more} more", err=True)


def _without_kits(made: Made, kits: Kits, out: Path) -> OperationError:
    """The error about certificates whose p12 files are not in the folder, with the commands that help."""
    first, count = made.without[0], len(made.without)
    what = "1 certificate has no kit: its" if count == 1 else f"{count} certificates have no kit: their"
    profile = f"gateway cert profile {first.serial} --kind {kits.kinds[0]} --host {kits.host} --p12 FILE"
    profile += "" if kits.path == "/" else f" --path {quote(kits.path)}"
    profile += "" if kits.language is Language.ENGLISH else f" --language {kits.language}"
    profile += "" if kits.contact is None else f" --contact {quote(kits.contact)}"
    return OperationError(
        f"{what} p12 file or password is not in {out}",
        "Run this again with the --out folder of the import that issued them. To make one kit from a p12 file "
        f"elsewhere: {quoted(profile)}. If the file is lost, renew the certificate first: "
        f"'gateway cert renew {first.serial}'.",
    )


def _kinds(text: str) -> tuple[KitKind, ...]:
    names = list(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    if unknown := [name for name in names if name not in list(KitKind)]:
        raise UsageError(f"'{unknown[0]}' is not a kind of kit", f"Give one or more of {','.join(KitKind)}.")
    return tuple(map(KitKind, names))


def _purposes(*, is_auth_only: bool, is_smime_only: bool, is_separate: bool) -> tuple[Purpose, ...]:
    mail = (Purpose.SMIME_SIGNING, Purpose.SMIME_ENCRYPTION)
    match is_auth_only, is_smime_only, is_separate:
        case True, True, _:
            raise UsageError("--auth-only and --smime-only exclude each other", "Remove one of them.")
        case True, False, _:
            return (Purpose.AUTH,)
        case False, True, False:
            return (Purpose.SMIME,)
        case False, True, True:
            return mail
        case False, False, True:
            return (Purpose.AUTH, *mail)
        case _:
            return (Purpose.CLIENT,)


def _note_revoked(desk: Desk, email: str, device: str | None, purposes: tuple[Purpose, ...]) -> None:
    """Note that the person was revoked. This isn't an error: the admin may be replacing a lost device."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki.registry import revoked_people  # noqa: PLC0415 - the same

    with desk.registry.reading() as connection:
        people = revoked_people.registered(connection, clock.now())
    notes = {revoked_people.told(found) for purpose in purposes if (found := people.find(email, device, purpose))}
    for note in sorted(notes):
        typer.echo(f"note: {note}", err=True)


def _note_authority(desk: Desk, name: str) -> None:
    """Note that another authority is the one for people: sites that trust that one refuse certificates of this one."""
    from gateway.pki import authority as desk_authority  # noqa: PLC0415 - heavy, see app

    for other in desk_authority.for_people_below(desk, name):
        cause = f"sites that trust '{other}' refuse certificates of '{name}', the authority above it"
        typer.echo(f"note: {cause}; issue with --ca {other}", err=True)


def _requested(csr: Path, email: str) -> PublicKey:
    """The key of a request; what the request wanted beyond it is told."""
    from gateway.pki import files, requests  # noqa: PLC0415 - heavy, see app

    request = requests.read(files.read(csr), email=email, place=str(csr))
    for line in request.ignored:
        typer.echo(f"{csr}: ignored: {line}", err=True)
    return request.key


def _issue(desk: Desk, signer: Authority, order: Order, key: PrivateKey | PublicKey, files: Files) -> None:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import issue as desk_issue  # noqa: PLC0415 - the same
    from gateway.pki.file_names import file_stem  # noqa: PLC0415 - the same
    from gateway.pki.keys import PrivateKey  # noqa: PLC0415 - the same

    stem = file_stem(order.email or order.common_name, order.device, _LABELS.get(order.purpose))
    delivery = files.delivery(stem, key if isinstance(key, PrivateKey) else None)
    issued = desk_issue.issue(desk, signer, order, key, clock.now(), delivery)
    files.report(delivery, issued)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - heavy, see app
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn  # noqa: PLC0415 - the same
    from rich.progress import Progress as Bar  # noqa: PLC0415 - the same

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
