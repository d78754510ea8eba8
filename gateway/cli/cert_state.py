"""`gateway cert revoke`, `hold` and `unhold`: refuse certificates, for good or for a time, and release them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.desk import PassphraseOption, open_desk, unlock
from gateway.errors import UsageError
from gateway.pki.registry.records import CertificateRecord, RevocationReason, State

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.pki.authority import Authority
    from gateway.pki.desk import Desk

TargetsArgument = Annotated[
    list[str], typer.Argument(help="Serials, or e-mail addresses: all of that person's.", metavar="SERIAL|EMAIL...")
]

AuthorityOption = Annotated[
    str | None,
    typer.Option(
        "--ca", help="Only this authority's; required for serials that are not in the registry.", metavar="NAME"
    ),
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
    """Revoke certificates permanently and write the list at once."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same

    lifecycle.check_reason(reason)
    with open_desk(context) as desk:
        states = frozenset(State) - {State.REVOKED}
        found = _find(desk, targets, authority, "revoke")
        chosen = _in_state(found, states, "Run 'gateway cert list --revoked' to see them.")
        for signer, records, serials in _by_signer(desk, chosen, passphrase_file):
            lifecycle.revoke(desk, signer, records, reason, clock.now(), serials)
            _tell(records, serials, "revoked")
            _warn_of_trusted(desk, signer, serials)


def hold(
    context: typer.Context,
    targets: TargetsArgument,
    *,
    authority: AuthorityOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Refuse certificates until they are released.

    For example while a device is missing.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.pki import lifecycle  # noqa: PLC0415 - the same

    with open_desk(context) as desk:
        found = _find(desk, targets, authority, "hold")
        chosen = _in_state(found, {State.LIVE}, "Choose one that 'gateway cert list' shows as live.")
        for signer, records, serials in _by_signer(desk, chosen, passphrase_file):
            lifecycle.hold(desk, signer, records, clock.now(), serials)
            _tell(records, serials, "held")


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
        found = _find(desk, targets, authority, "unhold")
        chosen = _in_state(found, {State.HELD}, "Choose one that 'gateway cert list' shows as held.")
        for signer, records, serials in _by_signer(desk, chosen, passphrase_file):
            lifecycle.release(desk, signer, records, clock.now(), serials)
            _tell(records, serials, "released")


# As `cert verify` and `openssl x509 -serial` show it. Behind `--`, or it would be an option.
_NEGATIVE: Final = re.compile(r"(?:serial=)?-(?:0x)?[0-9A-Fa-f:]+")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Certificates in the registry, and serials of `authority` that are not in it."""

    known: list[CertificateRecord]
    foreign: dict[str, State]  # live: the list doesn't name it
    authority: str | None


def _find(desk: Desk, targets: list[str], authority: str | None, command: str) -> _Chosen:
    """Find the targets of `command`. Raises `UsageError` for one not in the registry, if no authority is named."""
    from gateway.pki.registry import certificates  # noqa: PLC0415 - heavy, see app

    known: dict[int, CertificateRecord] = {}
    foreign: dict[str, State] = {}
    with desk.registry.reading() as connection:
        for target in targets:
            try:
                found = certificates.matching(connection, target, authority=authority)
            except UsageError as error:
                if _NEGATIVE.fullmatch(target):
                    raise UsageError(
                        f"no revocation list can name the negative serial '{target}'",
                        "Refuse the certificate by its fingerprint, with a rule, or take its CA out of client_ca.",
                    ) from None
                serial = certificates.parse_serial(target)
                if serial is None:
                    raise
                if authority is None:
                    raise UsageError(error.cause, _with_authority(connection, serial, command, error.remedy)) from None
                foreign[serial] = _foreign_state(connection, authority, serial)
            else:
                known |= {record.id: record for record in found}
    return _Chosen(list(known.values()), foreign, authority)


def _with_authority(connection: Connection, serial: str, command: str, remedy: str) -> str:
    """The remedy for a serial that is not in the registry: the command that names its authority too."""
    from gateway.pki.registry import authorities  # noqa: PLC0415 - heavy, see app

    known = authorities.all_of(connection)
    listing = [each for each in known if authorities.foreign_entry(connection, each.id, serial) is not None]
    names = [each.name for each in listing or known]
    if not names:
        return remedy
    name, which = (names[0], "") if len(names) == 1 else ("NAME", f", where NAME is one of {', '.join(names)}")
    return (
        f"{remedy} If it is the serial of another certificate of your authority, name the authority: "
        f"'gateway cert {command} {serial} --ca {name}'{which}."
    )


def _foreign_state(connection: Connection, authority: str, serial: str) -> State:
    from gateway.pki.registry import authorities  # noqa: PLC0415 - heavy, see app

    entry = authorities.foreign_entry(connection, authorities.get(connection, authority).id, serial)
    if entry is None:
        return State.LIVE
    return State.HELD if entry.is_hold else State.REVOKED


def _in_state(found: _Chosen, states: Collection[State], remedy: str) -> _Chosen:
    """Only what is in one of the states. Raises `UsageError` if nothing is."""
    known = [record for record in found.known if record.state in states]
    foreign = {serial: state for serial, state in found.foreign.items() if state in states}
    if not known and not foreign:
        words = {State.LIVE: f"not on the list of '{found.authority}'"}
        told = [f"{record.serial} is {record.state}" for record in found.known]
        told += [f"{serial} is {words.get(state, state)}" for serial, state in found.foreign.items()]
        raise UsageError(", ".join(told), remedy)
    return replace(found, known=known, foreign=foreign)


def _by_signer(
    desk: Desk, chosen: _Chosen, passphrase_file: Path | None
) -> list[tuple[Authority, list[CertificateRecord], list[str]]]:
    """Each authority with its certificates and serials; all are unlocked before anything is changed."""
    from gateway.pki.authority import locked  # noqa: PLC0415 - heavy, see app

    records: dict[str, list[CertificateRecord]] = {}
    for record in chosen.known:
        records.setdefault(record.authority, []).append(record)
    serials = {chosen.authority: list(chosen.foreign)} if chosen.foreign and chosen.authority is not None else {}
    names = {**records, **serials}
    for name in names:
        locked(desk, name)  # raises for any of them before the first passphrase is asked for
    return [(unlock(desk, name, passphrase_file), records.get(name, []), serials.get(name, [])) for name in names]


def _warn_of_trusted(desk: Desk, signer: Authority, serials: list[str]) -> None:
    """Warn if a revoked certificate is an authority's: sites that have it in client_ca still trust it."""
    from gateway.pki.registry import authorities  # noqa: PLC0415 - heavy, see app
    from gateway.x509.loading import certificate_in  # noqa: PLC0415 - the same
    from gateway.x509.serials import serial_text  # noqa: PLC0415 - the same

    with desk.registry.reading() as connection:
        below = [record for record in authorities.all_of(connection) if record.parent == signer.name]
    for record in below:
        if serial_text(certificate_in(record.certificate_der).serial_number) in serials:
            typer.echo(
                f"'{record.name}' is an authority: remove it from client_ca of each site that has it there, or the"
                " certificates that it signed are still accepted",
                err=True,
            )


def _tell(records: list[CertificateRecord], serials: list[str], what: str) -> None:
    for record in records:
        typer.echo(f"{record.serial}  {what}  {record.subject}")
    for serial in serials:
        # In both forms: digits may have been meant as decimal, and FB as a negative number.
        typer.echo(f"{serial}  {what}  (hexadecimal, {int(serial, 16)} in decimal; not in the registry)")
