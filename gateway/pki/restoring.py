"""Catching up after the registry was restored from a backup: the last published list has the newer revocations.

The next list has every entry of that list, with its date and reason, and a higher number. Nothing is released: a
certificate that was released since the backup stays on hold until it is released again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.pki import crl, intake
from gateway.pki.authority import Authority
from gateway.pki.desk import Desk
from gateway.pki.registry import authorities, certificates, revocations
from gateway.pki.registry.records import ListEntry, State


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The entries that were on a list but not in the registry."""

    number: int  # of the list
    entries: tuple[ListEntry, ...]  # revoked or put on hold now
    still_held: tuple[str, ...]  # serials on hold in the registry that the list does not name


def take_over(desk: Desk, authority: Authority, data: bytes, now: datetime) -> TakenOver:
    """Revoke and hold the certificates that the authority's list in `data` names, and publish the next list.

    Raises `UsageError` if the list is not a full list of this authority, `OperationError`.
    """
    listed = intake.whole_list(data, authority.certificate)
    number, entries = intake.number_of(listed), intake.entries(listed)
    with desk.registry.writing() as connection:
        record = authorities.lock(connection, authority.name)
        states = certificates.states(connection, record)
        foreign = {entry.serial: entry for entry in authorities.foreign(connection, record)}
        new = [entry for entry in entries if _is_new(entry, states.get(entry.serial), foreign.get(entry.serial))]
        change = revocations.Change(desk.actor, now, source=f"from list {number}")
        for entry in new:
            is_known = entry.serial in states
            known = certificates.get(connection, record.name, entry.serial) if is_known else None
            revocations.put(connection, record, known, entry, change)
        authorities.continue_from(connection, record, number, listed.last_update_utc)
        crl.issue(connection, authority, desk.actor, now)
        held = {entry.serial for entry in crl.entries_of(connection, record, now) if entry.is_hold}
    crl.publish(desk, authority.name)
    return TakenOver(number, tuple(new), tuple(sorted(held - {entry.serial for entry in entries})))


def _is_new(entry: ListEntry, state: State | None, foreign: ListEntry | None) -> bool:
    """Whether the list refuses more than the registry: a certificate that is live, or one on hold that it revokes."""
    is_held = state is State.HELD or (foreign is not None and foreign.is_hold)
    if is_held:
        return not entry.is_hold
    return state is not State.REVOKED and foreign is None
