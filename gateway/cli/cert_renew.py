"""`gateway cert renew`: renews a certificate, with a new key or the same key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.cert_files import (
    HERE,
    DaysOption,
    EscrowOption,
    Files,
    OutOption,
    PasswordOption,
    ShowOption,
    own_password,
)
from gateway.cli.desk import PassphraseOption, duration, open_desk, unlock_with
from gateway.errors import UsageError
from gateway.pki.registry.records import Purpose
from gateway.pki.words import KeyKind, P12Format

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.pki.delivery import Delivery
    from gateway.pki.keys import PrivateKey, PublicKey
    from gateway.pki.registry.records import CertificateRecord


def renew(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A serial, e-mail address or name.", metavar="SERIAL|EMAIL")],
    *,
    days: DaysOption = None,
    overlap: Annotated[str, typer.Option("--overlap", help="How long the old one stays valid.")] = "14d",
    key: Annotated[
        KeyKind | None, typer.Option("--key", help="Kind of key. [default: the old one's]", case_sensitive=False)
    ] = None,
    is_same_key: Annotated[bool, typer.Option("--same-key", help="Keep the key; writes only a certificate.")] = False,
    old_p12: Annotated[
        Path | None,
        typer.Option("--p12", help="With --same-key: the old p12 file, to write a new one; needs --password-file."),
    ] = None,
    p12_format: Annotated[
        P12Format | None,
        typer.Option("--p12-format", help="compat or modern. [default: the old one's]", case_sensitive=False),
    ] = None,
    out: OutOption = HERE,
    password_file: PasswordOption = None,
    is_shown: ShowOption = False,
    has_escrow: EscrowOption = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Issue a new certificate with the same names.

    The old one is revoked at the end of the overlap.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import authority, keys, lifecycle  # noqa: PLC0415 - the same
    from gateway.pki.registry import certificates, search  # noqa: PLC0415 - the same
    from gateway.x509.loading import certificate_in  # noqa: PLC0415 - the same

    if old_p12 is not None and not is_same_key:
        raise UsageError("--p12 needs --same-key", "Add --same-key, or remove --p12.")
    if has_escrow and is_same_key and old_p12 is None:
        raise UsageError(
            "--escrow needs the key, which --same-key does not have", "Add --p12 FILE, or remove --escrow."
        )
    gone_after = duration(overlap, "--overlap")
    with open_desk(context) as desk:
        with desk.registry.reading() as connection:
            old = search.one(certificates.matching(connection, target), clock.now(), target)
        locked, writes_key = authority.locked(desk, old.authority), not is_same_key or old_p12 is not None
        lifecycle.check(desk, locked, old, days, clock.now())
        public = keys.check(certificate_in(old.der).public_key(), f"certificate {old.serial}")
        kept = None if old_p12 is None else _kept(old, public, old_p12, password_file)
        is_for_person = old.purpose is not Purpose.SERVER
        password = own_password(password_file) if writes_key and is_for_person else None
        p12_format = p12_format or P12Format(old.p12_format or P12Format.COMPAT)
        files = Files(out, p12_format, password, is_shown)
        files.check_folder()
        # The passphrase is asked for last.
        signer, secret = unlock_with(desk, old.authority, passphrase_file)
        own = kept if is_same_key else keys.make(key or keys.kind_of(public))
        delivery = _delivery(files, old, own)
        renewal = lifecycle.Renewal(
            key=own or public,
            days=days,
            overlap=gone_after,
            p12_format=p12_format if writes_key and is_for_person else None,
            escrow=secret if has_escrow else None,
        )
        now = clock.now()
        issued = lifecycle.renew(desk, signer, old, renewal, now, delivery)
        files.report(delivery, issued)
        typer.echo(f"{old.serial}  {_fate(old, now, now + gone_after)}")


def _fate(old: CertificateRecord, now: datetime, revoked_at: datetime) -> str:
    """What happens to the old certificate."""
    if old.not_after <= now:
        return f"expired {old.not_after:%Y-%m-%d}"
    if old.not_after <= revoked_at:
        return f"valid until {old.not_after:%Y-%m-%d %H:%M} UTC, when it expires"
    return "revoked" if revoked_at <= now else f"valid until {revoked_at:%Y-%m-%d %H:%M} UTC, then revoked"


def _kept(old: CertificateRecord, public: PublicKey, p12: Path, password_file: Path | None) -> PrivateKey:
    """The old certificate's key, from its p12 file. Raises `UsageError`."""
    from gateway.pki import files, pkcs12  # noqa: PLC0415 - heavy, see app
    from gateway.x509.keys import are_equal  # noqa: PLC0415 - the same

    if password_file is None:
        raise UsageError("the old p12 file needs its password", "Give it with --password-file FILE.")
    own, _ = pkcs12.open_(files.read(p12), files.read_secret(password_file), str(p12))
    if not are_equal(own.public_key(), public):
        raise UsageError(f"{p12}: holds another certificate's key", f"Give the p12 file of {old.serial}.")
    return own


def _delivery(files: Files, old: CertificateRecord, own: PrivateKey | None) -> Delivery:
    from gateway.pki.delivery import Delivery  # noqa: PLC0415 - heavy, see app
    from gateway.pki.file_names import file_stem  # noqa: PLC0415 - the same

    if old.purpose is Purpose.SERVER:
        return Delivery(folder=files.out, stem=file_stem(old.common_name), key=own)
    return files.delivery(file_stem(old.email or old.common_name, old.device), own)
