"""People whose latest certificates were revoked: an import makes new ones for them only with --reissue-revoked.

- The person's latest certificate for a device and a use decides. It doesn't count as revoked if it was replaced
  (`superseded`) or renewed, has expired, or was never handed out.
- A device without a certificate counts as revoked if the person was revoked and has no other valid certificate.
- All authorities count together: a revoked person doesn't get in again with a certificate of another authority.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from gateway.errors import UsageError
from gateway.pki.names import name_key
from gateway.pki.registry.claims import SLOTS
from gateway.pki.registry.records import Purpose, RevocationReason, State
from gateway.pki.registry.tables import AUDIT, CERTIFICATES


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonCertificate:
    """A certificate that was handed out to a person."""

    serial: str
    email: str
    device: str | None
    purpose: Purpose
    state: State
    reason: RevocationReason | None
    revoked_at: datetime | None
    not_after: datetime

    @property
    def is_revoked(self) -> bool:
        """Whether it was revoked, and not only replaced by another."""
        return self.state is State.REVOKED and self.reason is not RevocationReason.SUPERSEDED


class RevokedPeople:
    """The people in the registry, by their latest certificates."""

    def __init__(self, certificates: Iterable[PersonCertificate], now: datetime) -> None:
        """`certificates`: oldest first."""
        self._latest: dict[tuple[str, str, str], PersonCertificate] = {}  # by person, device and use
        self._last_revoked: dict[str, PersonCertificate] = {}
        self._trusted: set[str] = set()
        for each in certificates:
            person = name_key(each.email)
            for use in SLOTS[each.purpose]:
                self._latest[person, name_key(each.device or ""), use] = each
            if each.is_revoked:
                self._last_revoked[person] = each
            elif each.state is not State.REVOKED and each.not_after >= now:
                self._trusted.add(person)

    def find(self, email: str, device: str | None, purpose: Purpose) -> PersonCertificate | None:
        """The revoked certificate because of which this person, device and use count as revoked; None if they don't."""
        person, device_key = name_key(email), name_key(device or "")
        latest = [self._latest.get((person, device_key, use)) for use in SLOTS[purpose]]
        if found := [each for each in latest if each is not None]:
            return next((each for each in found if each.is_revoked), None)
        return None if person in self._trusted else self._last_revoked.get(person)

    def check(self, email: str, device: str | None, purpose: Purpose) -> None:
        """Refuse a certificate for a person who was revoked. Raises `UsageError`."""
        if (found := self.find(email, device, purpose)) is not None:
            raise UsageError(told(found), "Remove the row, or give --reissue-revoked if this person may get in again.")


def told(found: PersonCertificate) -> str:
    """A sentence about who was revoked, when and why."""
    whose = found.email if found.device is None else f"{found.email} on '{found.device}'"
    return f"{whose} was revoked on {found.revoked_at:%Y-%m-%d} ({found.reason}), certificate {found.serial}"


def registered(connection: Connection, now: datetime) -> RevokedPeople:
    """The people of all authorities in the registry."""
    issued = select(AUDIT.c.serial).where(AUDIT.c.action == "issued")
    columns = ("serial", "email", "device", "purpose", "state", "reason", "revoked_at", "not_after")
    query = (
        select(*(CERTIFICATES.c[name] for name in columns))
        .where(CERTIFICATES.c.email.is_not(None), CERTIFICATES.c.state != State.PENDING.value)
        .where(or_(CERTIFICATES.c.state != State.REVOKED.value, CERTIFICATES.c.serial.in_(issued)))
        .order_by(CERTIFICATES.c.id)
    )
    rows = (dict(row) for row in connection.execute(query).mappings())
    return RevokedPeople((_certificate(row) for row in rows), now)


def _certificate(row: dict[str, Any]) -> PersonCertificate:
    reason = row["reason"]
    kinds = {"purpose": Purpose(row["purpose"]), "state": State(row["state"])}
    return PersonCertificate(**row | kinds | {"reason": None if reason is None else RevocationReason(reason)})
