"""Sends the mails that are due, each of them once.

Keeps true: a mail is claimed in the registry before it is sent, so that no other machine sends it, and is marked as
sent after the mail server has accepted it. A mail that was not sent is never marked as sent. If a sent mail can't be
marked, it is marked later and not sent again.
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

# How many holders get their mail in one round; with a round a minute, a thousand holders within twenty minutes.
BATCH: Final = 50
# After this time, the other mails wait for the next round.
BATCH_SECONDS: Final = 120.0
WHAT: Final = "e-mail"

_log = logging.getLogger("gateway.keeper")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that is due."""

    notice: Notice
    recipients: tuple[str, ...]
    write: Callable[[], EmailMessage]  # raises `UndeliverableError`


class Mailing:
    """Sends the mails that are due."""

    def __init__(self, plan: Plan, mail: Mail, troubles: Troubles) -> None:
        self._plan = plan
        self._mail = mail
        self._troubles = troubles
        self._unwritten: set[Notice] = set()  # sent, but not yet marked as sent in the registry
        self.is_ending = False  # True: start no further mail
        self.sent = 0
        self.refused = 0

    async def run(self, registry: Registry, findings: Findings, now: datetime, outages: tuple[str, ...] = ()) -> None:
        """Send what is due; `outages`: why clients are refused. Raises `OperationError` if the registry fails."""
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
        """The mail about refused clients: due at once when the lines change, then once a day."""
        admins = self._mail.admins
        if not admins or not outages:
            return None
        digest = hashlib.sha256("\n".join(sorted(outages)).encode()).hexdigest()
        notice = Notice(Kind.OUTAGE, f"{now:%Y-%m-%d} {digest}", ", ".join(admins))
        write = partial(letters.of_outages, outages, notice, admins, self._mail.sender, now)
        return None if notice in self._unwritten else Letter(notice, admins, write)

    def _summary(self, findings: Findings, now: datetime) -> Letter | None:
        admins = self._mail.admins
        troubles = tuple(trouble for trouble in self._troubles if trouble.what != WHAT)  # if it arrives, mail works
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
                _log.warning("a mail to %s was refused: %s", letter.notice.recipient, error.cause)
                await asyncio.to_thread(_refuse, registry, letter.notice, error.cause, now)
            except OperationError:
                await asyncio.to_thread(_put_back, registry, letter.notice, now)
                raise
            else:
                self.sent += 1
                for address, answer in partly.items():
                    _log.warning("a mail to %s was refused: %s", address, answer)
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
