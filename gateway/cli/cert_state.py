"""`gateway cert revoke`, `hold` and `unhold`: who gets in no more, and who does again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.desk import PassphraseOption, open_desk, unlock
from gateway.errors import UsageError
from gateway.pki.registry.records import CertificateRecord, RevocationReason, State

if TYPE_CHECKING:
    from gateway.pki.desk import Desk

TargetsArgument = Annotated[
    list[str], typer.Argument(help="Serials, or e-mail addresses: all of that person's.", metavar="SERIAL|EMAIL...")
]


def revoke(
    context: typer.Context,
    targets: TargetsArgument,
    *,
    reason: Annotated[RevocationReason, typer.Option("--reason", help="Why.", case_sensitive=False)] = (
        RevocationReason.UNSPECIFIED
    ),
    authority: Annotated[
        str | None,
        typer.Option("--ca", help="Only this authority's; needed for serials the registry has not.", metavar="NAME"),
    ] = None,
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
        signers = {name: unlock(desk, name, passphrase_file) for name in _authorities(chosen, foreign, authority)}
        for name, records in _by_authority(chosen).items():
            lifecycle.revoke(desk, signers[name], records, reason, clock.now())
            _tell(records, "revoked")
        for serial in foreign:
            lifecycle.revoke_foreign(desk, signers[str(authority)], serial, reason, clock.now())
            typer.echo(f"{serial}  revoked  (not in the registry)")


def hold(context: typer.Context, targets: TargetsArgument, *, passphrase_file: PassphraseOption = None) -> None:
    """Refuse certificates until they are released, as for a device that may be found again."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        chosen = _in_state(desk, targets, State.LIVE, "Only a live certificate can be held.")
        signers = {name: unlock(desk, name, passphrase_file) for name in chosen}
        for name, records in chosen.items():
            lifecycle.hold(desk, signers[name], records, clock.now())
            _tell(records, "held")


def unhold(context: typer.Context, targets: TargetsArgument, *, passphrase_file: PassphraseOption = None) -> None:
    """Release held certificates."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        chosen = _in_state(desk, targets, State.HELD, "Only a held certificate can be released.")
        signers = {name: unlock(desk, name, passphrase_file) for name in chosen}
        for name, records in chosen.items():
            lifecycle.release(desk, signers[name], records, clock.now())
            _tell(records, "released")


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


def _in_state(desk: Desk, targets: list[str], state: State, remedy: str) -> dict[str, list[CertificateRecord]]:
    found, _ = _find(desk, targets, None)
    chosen = [record for record in found if record.state is state]
    if not chosen:
        states = ", ".join(f"{record.serial} is {record.state}" for record in found)
        raise UsageError(states, remedy)
    return _by_authority(chosen)


def _by_authority(records: list[CertificateRecord]) -> dict[str, list[CertificateRecord]]:
    found: dict[str, list[CertificateRecord]] = {}
    for record in records:
        found.setdefault(record.authority, []).append(record)
    return found


def _authorities(chosen: list[CertificateRecord], foreign: list[str], authority: str | None) -> set[str]:
    return {*_by_authority(chosen), *([authority] if foreign and authority is not None else [])}


def _tell(records: list[CertificateRecord], what: str) -> None:
    for record in records:
        typer.echo(f"{record.serial}  {what}  {record.subject}")
