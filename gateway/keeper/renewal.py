"""Renews the revocation lists and OCSP signers of the authorities in `pki.authorities`.

Keeps true: an authority's key is unlocked only while it signs; a failure of one authority stops no other; a wrong
passphrase is reported at the start, not when the list is about to end.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError, UsageError
from gateway.keeper.plan import Plan
from gateway.keeper.troubles import Troubles
from gateway.pki import crl, ocsp_signer
from gateway.pki.authority import unlock
from gateway.pki.desk import Desk
from gateway.pki.files import read_secret
from gateway.pki.registry import authorities

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger("gateway.keeper")


class Renewal:
    """Renews what is due, for the authorities of one plan."""

    def __init__(self, plan: Plan, troubles: Troubles) -> None:
        self._plan = plan
        self._troubles = troubles
        self._proven: set[str] = set()  # authorities whose passphrase was tried and is right

    def run(self, desk: Desk, now: datetime) -> None:
        """Renew what is due. Raises `OperationError` if the registry can't be used."""
        with desk.registry.reading() as connection:
            due = set(crl.due(connection, now))
        for name, file in self._plan.passphrase_files.items():
            what = f"authority '{name}'"
            needs_signer = signer_is_due(desk, name, now)
            if name in self._proven and name not in due and not needs_signer:
                self._troubles.works(what)
            elif self._troubles.may_try(what, now):
                try:
                    self._renew(desk, name, file, needs_signer=needs_signer, now=now)
                except GatewayError as error:
                    self._proven.discard(name)
                    self._troubles.failed(what, error, now)
                else:
                    self._proven.add(name)
                    self._troubles.works(what)

    def _renew(self, desk: Desk, name: str, passphrase_file: Path, *, needs_signer: bool, now: datetime) -> None:
        with desk.registry.reading() as connection:
            authorities.get(connection, name)  # so that a wrong name is reported, not a missing passphrase file
        remedy = f"Write the passphrase of '{name}' into {passphrase_file}."
        authority = unlock(desk, name, read_secret(passphrase_file), remedy)
        if (made := crl.renew_due(desk, authority, now)) is not None and (end := made.next_update_utc) is not None:
            _log.info("authority '%s': made a new revocation list, valid until %s", name, text(end))
        if needs_signer:
            signer = ocsp_signer.make_signer(desk, authority, now)
            until = text(signer.certificate.not_valid_after_utc)
            _log.info("authority '%s': made a new OCSP signer, valid until %s", name, until)


def signer_is_due(desk: Desk, name: str, now: datetime) -> bool:
    """True if an authority's OCSP signer on this machine ends soon or is damaged."""
    return (end := signer_end(desk, name)) is not None and now >= end - ocsp_signer.RENEW_BEFORE


def signer_end(desk: Desk, name: str) -> datetime | None:
    """When an authority's OCSP signer ends; 1970 if it is damaged, None if this machine has none."""
    try:
        signer = ocsp_signer.load_signer(desk, name)
    except UsageError:
        return _LONG_AGO
    return None if signer is None else signer.certificate.not_valid_after_utc


def text(moment: datetime) -> str:
    """A time as the log and mails show it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
