"""Claims to common names. The database's primary key enforces them, so only one of two simultaneous issuers succeeds.

A certificate claims its name for each of its uses, under its authority. One certificate for logging in and one for
signing may have the same name; two for logging in may not. A claim ends when the certificate is revoked, expires or is
replaced by its renewal.
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
        Purpose.OCSP: (),  # its name identifies no person or server
    }
)


class NameTakenError(OperationError):
    """A live certificate, or one that is being made, has this common name."""


def holders(connection: Connection, authority_id: int, common_name: str, purpose: Purpose, now: datetime) -> list[str]:
    """The serials of the unexpired certificates that already hold this name for the purpose."""
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
    """Give a certificate's claims to its renewal; False if it no longer has any."""
    statement = update(NAME_CLAIMS).where(NAME_CLAIMS.c.certificate_id == old_id).values(certificate_id=new_id)
    return connection.execute(statement).rowcount > 0


def release(connection: Connection, certificate_id: int) -> None:
    """Delete a certificate's claims."""
    connection.execute(delete(NAME_CLAIMS).where(NAME_CLAIMS.c.certificate_id == certificate_id))


def taken(common_name: str, serials: list[str] | None = None) -> NameTakenError:
    """The error that names the certificates that hold the name, with the commands that help."""
    if not serials:
        cause = f"the common name '{common_name}' is in use: another command took it at the same time"
        return NameTakenError(cause, "Run this command again: it then names the certificate that has the name.")
    return NameTakenError(
        f"the common name '{common_name}' is in use by certificate {', '.join(serials)}",
        f"Renew it with 'gateway cert renew {serials[0]}', or revoke it first with 'gateway cert revoke {serials[0]}'; "
        "for a second device, give --device.",
    )
