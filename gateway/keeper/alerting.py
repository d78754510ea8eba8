"""Alerts of one plan: looks at the access log in each round, and mails what is due.

Keeps true: a mail that was not sent stays due, and is not sent twice. The log or the mail server may be away; that
stops nothing else of the keeper.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from functools import partial
from typing import Final

from gateway.config.model import Mail
from gateway.errors import GatewayError, OperationError
from gateway.keeper import alert_letters, alert_state
from gateway.keeper.alert_state import Event
from gateway.keeper.alerts import REFUSALS_SECONDS, Alerts
from gateway.keeper.letters import UndeliverableError
from gateway.keeper.log_reading import LogReading
from gateway.keeper.mailing import WHAT as MAIL
from gateway.keeper.plan import AlertPlan
from gateway.keeper.post import connected
from gateway.keeper.troubles import FIRST_RETRY_SECONDS, Troubles

WHAT: Final = "alerts"
CATCH_UP_SECONDS: Final = 3600.0  # how far back the log is read after the keeper was away
SAVE_SECONDS: Final = 300.0  # if nothing new was seen; a keeper that is killed reads so much again

_log = logging.getLogger("gateway.keeper")


@dataclass(frozen=True, slots=True)
class _Letter:
    """A mail that is due, and the events in it."""

    events: Sequence[Event]
    recipients: tuple[str, ...]
    write: Callable[[], EmailMessage]  # raises `UndeliverableError`
    is_folded: bool = False


class Alerting:
    """The alerts of one plan. `look` blocks and runs in a thread, also while mails are sent."""

    def __init__(self, plan: AlertPlan, mail: Mail, contact: str | None, troubles: Troubles) -> None:
        self._plan = plan
        self._mail = mail
        self._contact = contact
        self._troubles = troubles
        self._log = LogReading(plan.log)
        self._alerts: Alerts | None = None
        self._saved_at = 0.0
        self._lock = threading.Lock()
        self.is_ending = False  # True: start no further mail
        self.sent = 0
        self.refused = 0

    def look(self, now: datetime) -> None:
        """Read what came into the log."""
        if not self._troubles.may_try(WHAT, now):
            return
        at = now.timestamp()
        try:
            with self._lock:
                alerts = self._loaded(at)
                since = max(alerts.state.seen_until or at, at - CATCH_UP_SECONDS) - REFUSALS_SECONDS  # for the counts
                for entry in self._log.entries(since):
                    alerts.note(entry)
                alerts.state.seen_until = at
                if alerts.is_changed or at - self._saved_at >= SAVE_SECONDS:
                    self._save(alerts, at)
        except GatewayError as error:
            self._troubles.failed(WHAT, error, now, max_seconds=FIRST_RETRY_SECONDS)
        else:
            self._troubles.works(WHAT)

    async def mail(self, now: datetime) -> None:
        """Send what is due."""
        if not self._troubles.may_try(MAIL, now) or not (due := await asyncio.to_thread(self._due, now)):
            return
        try:
            async with connected(self._mail) as post:
                for letter in due:
                    if self.is_ending:
                        return
                    try:
                        await post.send(letter.write(), letter.recipients)
                    except UndeliverableError as error:
                        self.refused += 1
                        _log.warning("an alert to %s was refused: %s", ", ".join(letter.recipients), error.cause)
                    else:
                        self.sent += 1
                    await asyncio.to_thread(self._done, letter, now)
        except OperationError as error:
            self._troubles.failed(MAIL, error, now)
        else:
            self._troubles.works(MAIL)

    def close(self) -> None:
        """Close the log, and keep what was seen."""
        with self._lock:
            self._log.close()
            if self._alerts is not None:
                try:
                    self._save(self._alerts, self._saved_at)
                except OperationError as error:
                    _log.error("%s; alerts that were mailed may be mailed again", error.cause)

    def _due(self, now: datetime) -> list[_Letter]:
        with self._lock:
            if self._alerts is None:
                return []
            admins, sender = self._mail.admins, self._mail.sender
            single, folded = self._alerts.due(now.timestamp(), has_admins=bool(admins))
            unlisted = self._alerts.state.unlisted
        letters = [self._letter(event, now) for event in single]
        if folded is not None:
            write = partial(alert_letters.of_many, folded, unlisted, admins, sender, now)
            letters.append(_Letter(folded, admins, write, is_folded=True))
        return letters

    def _letter(self, event: Event, now: datetime) -> _Letter:
        admins, sender = self._mail.admins, self._mail.sender
        if event.kind == "place":
            write = partial(alert_letters.of_places, event, sender, self._contact, now)
            return _Letter((event,), (event.person,), write)
        return _Letter((event,), admins, partial(alert_letters.of_refusals, event, admins, sender, now))

    def _done(self, letter: _Letter, now: datetime) -> None:
        with self._lock:
            if self._alerts is not None:
                self._alerts.done(list(letter.events), now.timestamp(), is_folded=letter.is_folded)
                try:
                    self._save(self._alerts, now.timestamp())
                except OperationError as error:
                    self._troubles.failed(WHAT, error, now, max_seconds=FIRST_RETRY_SECONDS)

    def _loaded(self, at: float) -> Alerts:
        if self._alerts is None:
            self._alerts = Alerts(self._plan.settings, alert_state.load(self._plan.state, at))
        return self._alerts

    def _save(self, alerts: Alerts, at: float) -> None:
        """Write the state. Raises `OperationError`."""
        alert_state.save(self._plan.state, alerts.state)
        alerts.is_changed = False
        self._saved_at = at
