"""Who holds a common name. The database's primary key decides, so that of two issuers at once one is told no.

A certificate claims its name for each use it has under its authority: one for logging in and one for signing may
stand side by side, two for logging in may not. A claim ends with revocation, expiry, or its renewal's taking over.
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.errors import OperationError
from gateway.pki.names import name_key
from gateway.pki.registry.records import Purpose
from gateway.pki.registry.tables import CERTIFICATES, NAME_CLAIMS

SLOTS: Final = MappingProxyType(
    {
        Purpose.CLIENT: ("login", "signing", "encryption"),
        Purpose.AUTH: ("login",),
        Purpose.SMIME: ("signing", "encryption"),
        Purpose.SMIME_SIGNING: ("signing",),
        Purpose.SMIME_ENCRYPTION: ("encryption",),
        Purpose.SERVER: ("server",),
        Purpose.OCSP: (),  # its name never tells anybody apart
    }
)


class NameTakenError(OperationError):
    """A live certificate, or one that is being made, has this common name."""


def holders(connection: Connection, authority_id: int, common_name: str, purpose: Purpose, now: datetime) -> list[str]:
    """The serials of unexpired certificates that stand in the way of another with this name and purpose."""
    query = (
        select(CERTIFICATES.c.serial)
        .distinct()
        .join(NAME_CLAIMS, NAME_CLAIMS.c.certificate_id == CERTIFICATES.c.id)
        .where(NAME_CLAIMS.c.authority_id == authority_id, NAME_CLAIMS.c.name_key == name_key(common_name))
        .where(NAME_CLAIMS.c.slot.in_(SLOTS[purpose]), CERTIFICATES.c.not_after >= now)
        .order_by(CERTIFICATES.c.serial)
    )
    return list(connection.execute(query).scalars())


def take(
    connection: Connection, authority_id: int, common_name: str, purpose: Purpose, certificate_id: int, now: datetime
) -> None:
    """Claim a name for a certificate. Raises `NameTakenError`."""
    key = name_key(common_name)
    expired = select(CERTIFICATES.c.id).where(CERTIFICATES.c.not_after < now)
    connection.execute(
        delete(NAME_CLAIMS).where(
            NAME_CLAIMS.c.authority_id == authority_id,
            NAME_CLAIMS.c.name_key == key,
            NAME_CLAIMS.c.certificate_id.in_(expired),
        )
    )
    rows = [
        {"authority_id": authority_id, "name_key": key, "slot": slot, "certificate_id": certificate_id}
        for slot in SLOTS[purpose]
    ]
    if not rows:
        return
    try:
        connection.execute(insert(NAME_CLAIMS), rows)
    except IntegrityError as error:
        raise taken(common_name) from error


def hand_over(connection: Connection, old_id: int, new_id: int) -> bool:
    """Give a certificate's claims to its renewal; False where it has none any more."""
    statement = update(NAME_CLAIMS).where(NAME_CLAIMS.c.certificate_id == old_id).values(certificate_id=new_id)
    return connection.execute(statement).rowcount > 0


def release(connection: Connection, certificate_id: int) -> None:
    """Let go of the names a certificate holds."""
    connection.execute(delete(NAME_CLAIMS).where(NAME_CLAIMS.c.certificate_id == certificate_id))


def taken(common_name: str, serials: list[str] | None = None) -> NameTakenError:
    """The error that tells which certificate is in the way, and the ways out."""
    which = f" by certificate {', '.join(serials)}" if serials else ""
    it = f" {serials[0]}" if serials else ""
    return NameTakenError(
        f"the common name '{common_name}' is in use{which}",
        f"Renew it with 'gateway cert renew{it}', or revoke it with 'gateway cert revoke{it}' first; "
        "a second device is told apart with --device.",
    )
