"""`gateway cert revoke`, `hold` and `unhold`: who gets in no more, and who does again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

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
        found = _find(desk, targets, authority)
        chosen = replace(found, known=[record for record in found.known if record.state is not State.REVOKED])
        if not chosen.known and not chosen.foreign:
            raise UsageError(f"{certificates.serials(found.known)} is revoked already", "See 'gateway cert show'.")
        for signer, records, serials in _by_signer(desk, chosen, passphrase_file):
            if records:
                lifecycle.revoke(desk, signer, records, reason, clock.now())
                _tell(records, "revoked")
            for serial in serials:
                lifecycle.revoke_foreign(desk, signer, serial, reason, clock.now())
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
        chosen = _in_state(desk, targets, authority, State.LIVE, "Only a live certificate can be held.")
        for signer, records, serials in _by_signer(desk, chosen, passphrase_file):
            if records:
                lifecycle.hold(desk, signer, records, clock.now())
                _tell(records, "held")
            for serial in serials:
                lifecycle.revoke_foreign(desk, signer, serial, RevocationReason.CERTIFICATE_HOLD, clock.now())
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
        chosen = _in_state(desk, targets, authority, State.HELD, "Only a held certificate can be released.")
        for signer, records, serials in _by_signer(desk, chosen, passphrase_file):
            if records:
                lifecycle.release(desk, signer, records, clock.now())
                _tell(records, "released")
            for serial in serials:
                lifecycle.release_foreign(desk, signer, serial, clock.now())
                _tell_foreign(serial, "released")


# As `cert verify` and `openssl x509 -serial` show it. Behind `--`, or it would be an option.
_NEGATIVE: Final = re.compile(r"-(?:0x)?[0-9A-Fa-f:]+")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Certificates of the registry, and serials that it has not, which are `authority`'s."""

    known: list[CertificateRecord]
    foreign: list[str]
    authority: str | None


def _find(desk: Desk, targets: list[str], authority: str | None) -> _Chosen:
    """What the targets mean. Raises `UsageError` for what the registry does not know, where no authority is named."""
    from gateway.pki.registry import certificates  # noqa: PLC0415 - heavy, see app

    known: dict[int, CertificateRecord] = {}
    foreign: list[str] = []
    with desk.registry.reading() as connection:
        for target in targets:
            try:
                found = certificates.matching(connection, target, authority=authority)
            except UsageError:
                if _NEGATIVE.fullmatch(target):
                    raise UsageError(
                        f"no revocation list can name the negative serial '{target}'",
                        "Refuse the certificate by its fingerprint, with a rule, or take its CA out of client_ca.",
                    ) from None
                serial = certificates.parse_serial(target)
                if serial is None or authority is None:
                    raise
                foreign.append(serial)
            else:
                known |= {record.id: record for record in found}
    return _Chosen(list(known.values()), foreign, authority)


def _in_state(desk: Desk, targets: list[str], authority: str | None, state: State, remedy: str) -> _Chosen:
    """The same, of the known ones only those in a state."""
    found = _find(desk, targets, authority)
    chosen = replace(found, known=[record for record in found.known if record.state is state])
    if not chosen.known and not chosen.foreign:
        states = ", ".join(f"{record.serial} is {record.state}" for record in found.known)
        raise UsageError(states, remedy)
    return chosen


def _by_signer(
    desk: Desk, chosen: _Chosen, passphrase_file: Path | None
) -> list[tuple[Authority, list[CertificateRecord], list[str]]]:
    """Each authority with what is its own; all are unlocked before anything is changed."""
    records: dict[str, list[CertificateRecord]] = {}
    for record in chosen.known:
        records.setdefault(record.authority, []).append(record)
    serials = {chosen.authority: chosen.foreign} if chosen.foreign and chosen.authority is not None else {}
    names = {**records, **serials}
    return [(unlock(desk, name, passphrase_file), records.get(name, []), serials.get(name, [])) for name in names]


def _tell(records: list[CertificateRecord], what: str) -> None:
    for record in records:
        typer.echo(f"{record.serial}  {what}  {record.subject}")


def _tell_foreign(serial: str, what: str) -> None:
    # Said in full: a number without a letter may have been meant in decimal, and FB for a negative one.
    typer.echo(f"{serial}  {what}  (hexadecimal, {int(serial, 16)} in decimal; not in the registry)")
