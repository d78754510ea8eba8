"""The keeper's work for one plan: a round, the update of the list files, and mails.

Keeps true: a failure is noted in `troubles` and stops nothing else, so that a mail server or a wrong passphrase does
not keep another authority's list from being renewed. A missing registry is never created here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from gateway.errors import GatewayError, OperationError
from gateway.keeper.alerting import Alerting
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

ACTOR: Final = "gateway"  # the name in the audit trail
REGISTRY: Final = "the registry"
COPIES: Final = "the files of revocation lists"
ROUND: Final = "renewals and warnings"

_log = logging.getLogger("gateway.keeper")


class Watch:
    """The work for one plan. All methods except `mail` block; they run in a thread, one at a time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._troubles = Troubles(plan.options)
        self._renewal = Renewal(plan, self._troubles)
        self._announcer = Announcer()
        self._mailing = None if plan.mail is None else Mailing(plan, plan.mail, self._troubles)
        self._alerting: Alerting | None = None
        if plan.alerts is not None and plan.mail is not None:
            self._alerting = Alerting(plan.alerts, plan.mail, plan.contact, self._troubles)
        self._desk: Desk | None = None
        self._copies: Copies | None = None  # the files of that desk's lists
        self._findings: Findings | None = None

    def report(self, notifications: NotificationsReport | None = None) -> Report:
        """The report for the master."""
        mailers = [each for each in (self._mailing, self._alerting) if each is not None]
        sent, refused = sum(each.sent for each in mailers), sum(each.refused for each in mailers)
        return report(self._findings, self._troubles, sent=sent, refused=refused, notifications=notifications)

    def round(self, now: datetime) -> None:
        """Renew the lists and OCSP signers that are due, then read the registry for warnings."""
        self._with_desk(ROUND, now, self._round)
        if self._alerting is not None:
            self._alerting.look(now)

    def refresh(self, now: datetime) -> None:
        """Write lists that another machine made into this machine's files."""
        if self._troubles.may_try(REGISTRY, now) and self._troubles.may_try(COPIES, now):
            self._with_desk(COPIES, now, self._refresh)

    async def mail(self, now: datetime, outages: tuple[str, ...] = ()) -> None:
        """Send the mails that are due after the round of `now`; `outages` are the master's lines."""
        if self._alerting is not None:
            await self._alerting.mail(now)
        desk, findings = self._desk, self._findings
        if self._mailing is None or desk is None or findings is None or findings.at != now:
            return  # findings of an earlier round are not mailed
        try:
            await self._mailing.run(desk.registry, findings, now, outages)
        except GatewayError as error:
            self._troubles.failed(REGISTRY, error, now, max_seconds=FIRST_RETRY_SECONDS)

    def retry(self) -> None:
        """Retry at once everything that failed, because its cause may have been removed."""
        self._troubles.retry()

    def retry_registry(self) -> None:
        """Retry at once what failed because the registry did not answer."""
        self._troubles.retry(REGISTRY, COPIES)

    def end(self) -> None:
        """Start no further mail."""
        for each in (self._mailing, self._alerting):
            if each is not None:
                each.is_ending = True

    def close(self) -> None:
        """Close the registry and the log."""
        self._close_desk()
        if self._alerting is not None:
            self._alerting.close()

    def _close_desk(self) -> None:
        if self._desk is not None:
            self._desk.registry.close()
        self._desk = None

    def _with_desk(self, what: str, now: datetime, do: Callable[[Desk, datetime], OperationError | None]) -> None:
        """Call `do` and note failures: of the registry, or of `what` if `do` returns an error."""
        try:
            if self._desk is None:
                self._desk = _open(self.plan)
                self._copies = Copies(self._desk)
            failure = do(self._desk, now)
        except GatewayError as error:
            self._close_desk()
            self._troubles.failed(REGISTRY, error, now, max_seconds=FIRST_RETRY_SECONDS)
            return
        except Exception as error:  # noqa: BLE001 - lists must be renewed even if another part has a defect
            _log.exception("the keeper continues after an unexpected error")
            failure = OperationError(f"{type(error).__name__}: {error}", "Report this defect, with the log.")
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
            _log.info("authority '%s': wrote the registry's newest revocation list to %s", name, desk.file(name, "crl"))
        return done.failure


def _open(plan: Plan) -> Desk:
    """The desk for an existing registry. Raises `UsageError`, `OperationError`."""
    return Desk(Registry.open(plan.store, may_make=False), plan.folder, ACTOR)
