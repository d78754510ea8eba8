"""`gateway cert revoke`, `hold` and `unhold`: who gets in no more, and who does again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.desk import PassphraseOption, open_desk, unlock
from gateway.errors import UsageError
from gateway.pki.registry.records import CertificateRecord, RevocationReason, State

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.pki.authority import Authority
    from gateway.pki.desk import Desk

TargetsArgument = Annotated[
    list[str], typer.Argument(help="Serials, or e-mail addresses: all of that person's.", metavar="SERIAL|EMAIL...")
]

AuthorityOption = Annotated[
    str | None,
    typer.Option("--ca", help="Only this authority's; needed for serials the registry has not.", metavar="NAME"),
]


def revoke(
    context: typer.Context,
    targets: TargetsArgument,
    *,
    reason: Annotated[RevocationReason, typer.Option("--reason", help="Why.", case_sensitive=False)] = (
        RevocationReason.UNSPECIFIED
    ),
    authority: AuthorityOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Revoke certificates for good and write the list at once."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same
    from gateway.pki.registry import certificates  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        known, foreign = _find(desk, targets, authority)
        chosen = [record for record in known if record.state is not State.REVOKED]
        if not chosen and not foreign:
            raise UsageError(f"{certificates.serials(known)} is revoked already", "See 'gateway cert show'.")
        signers = _signers(desk, chosen, foreign, authority, passphrase_file)
        for name, records in _by_authority(chosen).items():
            lifecycle.revoke(desk, signers[name], records, reason, clock.now())
            _tell(records, "revoked")
        for serial in foreign:
            lifecycle.revoke_foreign(desk, signers[str(authority)], serial, reason, clock.now())
            _tell_foreign(serial, "revoked")


def hold(
    context: typer.Context,
    targets: TargetsArgument,
    *,
    authority: AuthorityOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Refuse certificates until they are released, as for a device that may be found again."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        chosen, foreign = _in_state(desk, targets, authority, State.LIVE, "Only a live certificate can be held.")
        signers = _signers(desk, chosen, foreign, authority, passphrase_file)
        for name, records in _by_authority(chosen).items():
            lifecycle.hold(desk, signers[name], records, clock.now())
            _tell(records, "held")
        for serial in foreign:
            hold_ = RevocationReason.CERTIFICATE_HOLD
            lifecycle.revoke_foreign(desk, signers[str(authority)], serial, hold_, clock.now())
            _tell_foreign(serial, "held")


def unhold(
    context: typer.Context,
    targets: TargetsArgument,
    *,
    authority: AuthorityOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Release held certificates."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        chosen, foreign = _in_state(desk, targets, authority, State.HELD, "Only a held certificate can be released.")
        signers = _signers(desk, chosen, foreign, authority, passphrase_file)
        for name, records in _by_authority(chosen).items():
            lifecycle.release(desk, signers[name], records, clock.now())
            _tell(records, "released")
        for serial in foreign:
            lifecycle.release_foreign(desk, signers[str(authority)], serial, clock.now())
            _tell_foreign(serial, "released")


def _find(desk: Desk, targets: list[str], authority: str | None) -> tuple[list[CertificateRecord], list[str]]:
    """What the registry knows of the targets, and the serials it doesn't, where an authority says whose they are."""
    from gateway.pki.registry import certificates  # noqa: PLC0415 - heavy, see app

    known: dict[int, CertificateRecord] = {}
    foreign: list[str] = []
    with desk.registry.reading() as connection:
        for target in targets:
            try:
                found = certificates.matching(connection, target, authority=authority)
            except UsageError:
                serial = certificates.parse_serial(target)
                if serial is None or authority is None:
                    raise
                foreign.append(serial)
            else:
                known |= {record.id: record for record in found}
    return list(known.values()), foreign


def _in_state(
    desk: Desk, targets: list[str], authority: str | None, state: State, remedy: str
) -> tuple[list[CertificateRecord], list[str]]:
    """The same as `_find`, of the known ones only those in a state."""
    found, foreign = _find(desk, targets, authority)
    chosen = [record for record in found if record.state is state]
    if not chosen and not foreign:
        states = ", ".join(f"{record.serial} is {record.state}" for record in found)
        raise UsageError(states, remedy)
    return chosen, foreign


def _signers(
    desk: Desk,
    chosen: list[CertificateRecord],
    foreign: list[str],
    authority: str | None,
    passphrase_file: Path | None,
) -> dict[str, Authority]:
    """The authorities of all that is chosen, unlocked, by name."""
    names = {*_by_authority(chosen), *([authority] if foreign and authority is not None else [])}
    return {name: unlock(desk, name, passphrase_file) for name in names}


def _by_authority(records: list[CertificateRecord]) -> dict[str, list[CertificateRecord]]:
    found: dict[str, list[CertificateRecord]] = {}
    for record in records:
        found.setdefault(record.authority, []).append(record)
    return found


def _tell(records: list[CertificateRecord], what: str) -> None:
    for record in records:
        typer.echo(f"{record.serial}  {what}  {record.subject}")


def _tell_foreign(serial: str, what: str) -> None:
    typer.echo(f"{serial}  {what}  (not in the registry)")
