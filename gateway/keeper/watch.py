"""Looking after one registry by one plan: what is done in a round, every few seconds, and beside both.

Keeps true: whatever fails is in `troubles` and stops nothing else, so that neither a mail server nor one authority's
wrong passphrase keeps another's list from being renewed. A registry that is not there is never made here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from gateway.errors import GatewayError, OperationError
from gateway.keeper.announcer import Announcer
from gateway.keeper.findings import Findings, look
from gateway.keeper.mailing import Mailing
from gateway.keeper.plan import Plan
from gateway.keeper.renewal import Renewal
from gateway.keeper.report import report
from gateway.keeper.told import NotificationsReport, Report
from gateway.keeper.troubles import FIRST_RETRY_SECONDS, Troubles
from gateway.pki.copies import Copies, Refreshed
from gateway.pki.desk import Desk
from gateway.pki.registry.engine import Registry

ACTOR: Final = "gateway"  # who did it, in the audit trail
REGISTRY: Final = "the registry"
COPIES: Final = "the files of revocation lists"
ROUND: Final = "renewals and warnings"

_log = logging.getLogger("gateway.keeper")


class Watch:
    """One plan. Its methods but `mail` block, and run beside the loop, one at a time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._troubles = Troubles()
        self._renewal = Renewal(plan, self._troubles)
        self._announcer = Announcer()
        self._mailing = None if plan.mail is None else Mailing(plan, plan.mail, self._troubles)
        self._desk: Desk | None = None
        self._copies: Copies | None = None  # of that desk
        self._findings: Findings | None = None

    def report(self, notifications: NotificationsReport | None = None) -> Report:
        """What there is to tell now."""
        mailing = self._mailing
        sent, refused = (0, 0) if mailing is None else (mailing.sent, mailing.refused)
        return report(self._findings, self._troubles, sent=sent, refused=refused, notifications=notifications)

    def round(self, now: datetime) -> None:
        """Renew what is due, and look at what ends."""
        self._with_desk(ROUND, now, self._round)

    def refresh(self, now: datetime) -> None:
        """Bring this machine's files of the lists up to date, for what another desk did."""
        if self._troubles.may_try(REGISTRY, now) and self._troubles.may_try(COPIES, now):
            self._with_desk(COPIES, now, self._refresh)

    async def mail(self, now: datetime, outages: tuple[str, ...] = ()) -> None:
        """Tell whom a mail is due to, by what the round of `now` found; `outages` is what the master found."""
        desk, findings = self._desk, self._findings
        if self._mailing is None or desk is None or findings is None or findings.at != now:
            return  # what was found longer ago is not mailed
        try:
            await self._mailing.run(desk.registry, findings, now, outages)
        except GatewayError as error:
            self._troubles.failed(REGISTRY, error, now, max_seconds=FIRST_RETRY_SECONDS)

    def retry(self) -> None:
        """Try at once what failed: somebody may have mended it."""
        self._troubles.retry()

    def retry_registry(self) -> None:
        """The registry answers: try at once what failed for it."""
        self._troubles.retry(REGISTRY, COPIES)

    def end(self) -> None:
        """Begin no other mail."""
        if self._mailing is not None:
            self._mailing.is_ending = True

    def close(self) -> None:
        """Give the registry back."""
        if self._desk is not None:
            self._desk.registry.close()
        self._desk = None

    def _with_desk(self, what: str, now: datetime, do: Callable[[Desk, datetime], OperationError | None]) -> None:
        """Do something with the registry; what it returns is what failed beside that."""
        try:
            if self._desk is None:
                self._desk = _open(self.plan)
                self._copies = Copies(self._desk)
            failure = do(self._desk, now)
        except GatewayError as error:
            self.close()
            self._troubles.failed(REGISTRY, error, now, max_seconds=FIRST_RETRY_SECONDS)
            return
        except Exception as error:  # noqa: BLE001 - lists are renewed whatever else is wrong
            _log.exception("the keeper goes on after what should not be")
            failure = OperationError(f"{type(error).__name__}: {error}", "This is a defect: report it, with the log.")
        self._troubles.works(REGISTRY)
        if failure is None:
            self._troubles.works(what)
        else:
            self._troubles.failed(what, failure, now)

    def _round(self, desk: Desk, now: datetime) -> None:
        self._renewal.run(desk, now)
        self._findings = look(desk, self.plan, now)
        self._announcer.tell(self._findings)

    def _refresh(self, desk: Desk, _now: datetime) -> OperationError | None:
        done = Refreshed() if self._copies is None else self._copies.refresh(self.plan.passphrase_files)
        for name in done.written:
            _log.info("authority '%s': the registry's newest revocation list is in %s", name, desk.file(name, "crl"))
        return done.failure


def _open(plan: Plan) -> Desk:
    """The desk over a registry that is there. Raises `UsageError`, `OperationError`."""
    return Desk(Registry.open(plan.store, may_make=False), plan.folder, ACTOR)
