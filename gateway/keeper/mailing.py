"""Who is told by mail, and that nobody is told twice.

Keeps true: a mail is claimed in the registry before it is sent, and counts as sent when the mail server has taken it.
What could not be sent is never marked as sent; what was sent and could not be written down is written down later, not
sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from functools import partial
from typing import Final

from gateway import clock
from gateway.config.model import Mail
from gateway.errors import OperationError
from gateway.keeper import letters
from gateway.keeper.findings import Findings
from gateway.keeper.letters import UndeliverableError
from gateway.keeper.plan import Plan
from gateway.keeper.post import Post, connected
from gateway.keeper.troubles import Troubles
from gateway.pki.registry import notices
from gateway.pki.registry.engine import Registry
from gateway.pki.registry.notices import Kind, Notice

# As many holders as are told in one round: with a round a minute, a thousand people within twenty.
BATCH: Final = 50
# No mail is begun after this; the next round goes on.
BATCH_SECONDS: Final = 120.0
WHAT: Final = "e-mail"

_log = logging.getLogger("gateway.keeper")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail and what it is about."""

    notice: Notice
    recipients: tuple[str, ...]
    write: Callable[[], EmailMessage]  # raises `UndeliverableError`


class Mailing:
    """Sends what is due."""

    def __init__(self, plan: Plan, mail: Mail, troubles: Troubles) -> None:
        self._plan = plan
        self._mail = mail
        self._troubles = troubles
        self._unwritten: set[Notice] = set()  # sent, and the registry does not know it yet
        self.is_ending = False  # begin no other mail
        self.sent = 0
        self.refused = 0

    async def run(self, registry: Registry, findings: Findings, now: datetime, outages: tuple[str, ...] = ()) -> None:
        """Send what is due; `outages` refuse clients now. Raises `OperationError` where the registry can't be used."""
        for notice in tuple(self._unwritten):
            await self._write_down(registry, notice, now)
        if not self._troubles.may_try(WHAT, now):
            return
        due = await asyncio.to_thread(self._due, registry, findings, now, outages)
        if not due:
            return
        try:
            async with connected(self._mail) as post:
                await self._send(registry, post, due, now)
        except OperationError as error:
            self._troubles.failed(WHAT, error, now)
        else:
            self._troubles.works(WHAT)

    def _due(self, registry: Registry, findings: Findings, now: datetime, outages: tuple[str, ...]) -> list[Letter]:
        with registry.reading() as connection:
            holders = notices.holders_due(connection, self._plan.before, now, BATCH) if self._mail.to_users else []
            to_admins = [
                letter
                for letter in (self._alarm(outages, now), self._summary(findings, now))
                if letter is not None and notices.is_due(connection, letter.notice, now)
            ]
        sender, contact = self._mail.sender, self._plan.contact
        due = [
            Letter(notice, (notice.recipient,), partial(letters.to_holder, record, notice, sender, contact, now))
            for record, notice in holders
            if notice not in self._unwritten
        ]
        return to_admins + due

    def _alarm(self, outages: tuple[str, ...], now: datetime) -> Letter | None:
        """At once when it changes what refuses clients, and once a day while it lasts."""
        admins = self._mail.admins
        if not admins or not outages:
            return None
        digest = hashlib.sha256("\n".join(sorted(outages)).encode()).hexdigest()
        notice = Notice(Kind.OUTAGE, f"{now:%Y-%m-%d} {digest}", ", ".join(admins))
        write = partial(letters.of_outages, outages, notice, admins, self._mail.sender, now)
        return None if notice in self._unwritten else Letter(notice, admins, write)

    def _summary(self, findings: Findings, now: datetime) -> Letter | None:
        admins = self._mail.admins
        troubles = tuple(trouble for trouble in self._troubles if trouble.what != WHAT)  # it works, if this arrives
        if not admins or not letters.is_worth_a_summary(findings, troubles):
            return None
        notice = Notice(Kind.SUMMARY, f"{now:%Y-%m-%d}", ", ".join(admins))
        write = partial(letters.to_admins, findings, troubles, notice, admins, self._mail.sender)
        return None if notice in self._unwritten else Letter(notice, admins, write)

    async def _send(self, registry: Registry, post: Post, due: Sequence[Letter], now: datetime) -> None:
        until = clock.monotonic_seconds() + BATCH_SECONDS
        for letter in due:
            if self.is_ending or clock.monotonic_seconds() >= until:
                return
            if not await asyncio.to_thread(_claim, registry, letter.notice, now):
                continue
            try:
                partly = await post.send(letter.write(), letter.recipients)
            except UndeliverableError as error:
                self.refused += 1
                _log.warning("a mail to %s is refused: %s", letter.notice.recipient, error.cause)
                await asyncio.to_thread(_refuse, registry, letter.notice, error.cause, now)
            except OperationError:
                await asyncio.to_thread(_put_back, registry, letter.notice, now)
                raise
            else:
                self.sent += 1
                for address, answer in partly.items():
                    _log.warning("a mail to %s is refused: %s", address, answer)
                await self._write_down(registry, letter.notice, now)

    async def _write_down(self, registry: Registry, notice: Notice, now: datetime) -> None:
        self._unwritten.add(notice)
        await asyncio.to_thread(_mark, registry, notice, now)
        self._unwritten.discard(notice)


def _claim(registry: Registry, notice: Notice, now: datetime) -> bool:
    with registry.writing() as connection:
        return notices.claim(connection, notice, now)


def _mark(registry: Registry, notice: Notice, now: datetime) -> None:
    with registry.writing() as connection:
        notices.sent(connection, notice, now)


def _refuse(registry: Registry, notice: Notice, failure: str, now: datetime) -> None:
    with registry.writing() as connection:
        notices.refused(connection, notice, failure, now)


def _put_back(registry: Registry, notice: Notice, now: datetime) -> None:
    with registry.writing() as connection:
        notices.put_back(connection, notice, now)
