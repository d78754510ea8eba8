"""Revocation lists and OCSP signers, renewed with the authorities whose passphrase the configuration names.

Keeps true: an authority's key is unlocked only for as long as something is signed with it; what is wrong with one
authority stops no other; a passphrase that does not fit is found at the start, not when the list runs out.
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
    """The authorities that are kept."""

    def __init__(self, plan: Plan, troubles: Troubles) -> None:
        self._plan = plan
        self._troubles = troubles
        self._proven: set[str] = set()  # whose passphrase was seen to fit

    def run(self, desk: Desk, now: datetime) -> None:
        """Renew what is due. Raises `OperationError` where the registry can't be used."""
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
            authorities.get(connection, name)  # a wrong name is told before a passphrase is read
        authority = unlock(desk, name, read_secret(passphrase_file))
        if (made := crl.renew_due(desk, authority, now)) is not None and (end := made.next_update_utc) is not None:
            _log.info("authority '%s': a new revocation list, good until %s", name, text(end))
        if needs_signer:
            signer = ocsp_signer.make_signer(desk, authority, now)
            until = text(signer.certificate.not_valid_after_utc)
            _log.info("authority '%s': a new OCSP signer, good until %s", name, until)


def signer_is_due(desk: Desk, name: str, now: datetime) -> bool:
    """Whether an authority has an OCSP signer on this machine that must be renewed; one that is damaged must, too."""
    return (end := signer_end(desk, name)) is not None and now >= end - ocsp_signer.RENEW_BEFORE


def signer_end(desk: Desk, name: str) -> datetime | None:
    """When an authority's OCSP signer ends; None where it has none on this machine. A damaged one ended long ago."""
    try:
        signer = ocsp_signer.load_signer(desk, name)
    except UsageError:
        return _LONG_AGO
    return None if signer is None else signer.certificate.not_valid_after_utc


def text(moment: datetime) -> str:
    """A time for the log and for mails."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
