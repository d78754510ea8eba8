"""The keeper's loop: a round every minute, an update of the list files every few seconds; mails are sent meanwhile.

Keeps true: the loop hears the master even while a mail server or a database hangs; at most one batch of mails is being
sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from gateway import clock, tasks
from gateway.errors import UsageError
from gateway.keeper.listener import Listener, Word
from gateway.keeper.plan import ROUND_SECONDS, Plan
from gateway.keeper.told import Report
from gateway.keeper.watch import Watch
from gateway.pki.registry.notifications import connection_arguments

# Without a notification, a revocation on another machine reaches this machine's file within this time. It costs one
# short query.
REFRESH_SECONDS: Final = 5.0
# Between two updates of the files, however many notifications arrive.
MIN_PAUSE_SECONDS: Final = 0.1
# For the mail that is being sent when the gateway stops.
CLOSE_SECONDS: Final = 2.0


class Keeper:
    """Does what the newest plan says."""

    def __init__(self, tell: Callable[[Report], None]) -> None:
        """`tell` gets a report after every round and every batch of mails."""
        self._tell = tell
        self._plan: Plan | None = None
        self._watch: Watch | None = None
        self._listener: Listener | None = None  # for that watch's database
        self._wake = asyncio.Event()
        self._is_registry_back = False
        self._is_stopping = False
        self._round_at = 0.0  # monotonic
        self._outages: tuple[str, ...] = ()
        self._mailing: asyncio.Task[None] | None = None

    def follow(self, plan: Plan | None) -> None:
        """Use another plan from now on; None: do nothing. The same plan again: retry at once what failed."""
        if self._watch is not None:
            self._watch.retry() if plan == self._watch.plan else self._watch.end()
        self._plan = plan
        self._round_at = 0.0
        self._wake.set()

    def hear_outages(self, lines: tuple[str, ...]) -> None:
        """Take over the master's lines about refused clients; the administrators get a mail at once."""
        if lines != self._outages:
            self._outages = lines
            self._round_at = 0.0
            self._wake.set()

    def stop(self) -> None:
        """Stop after the mail that is being sent."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._is_stopping:
            self._wake.clear()
            if (watch := self._current()) is not None:
                if clock.monotonic_seconds() >= self._round_at:
                    self._round_at = clock.monotonic_seconds() + ROUND_SECONDS
                    await self._round(watch)
                if self._is_registry_back:
                    self._is_registry_back = False
                    watch.retry_registry()
                await asyncio.to_thread(watch.refresh, clock.now())
                await asyncio.sleep(MIN_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._wake.wait()
        self._plan = None
        self._current()
        if self._mailing is not None:
            await asyncio.wait([self._mailing], timeout=CLOSE_SECONDS)

    def _current(self) -> Watch | None:
        """The watch for the newest plan. The old one is closed; at most a mail is still being sent from it."""
        if self._watch is not None and self._watch.plan != self._plan:
            self._watch.end()
            self._watch.close()
            self._watch = None
            if self._listener is not None:
                self._listener.close()
                self._listener = None
        if self._watch is None and self._plan is not None:
            self._watch = Watch(self._plan)
            self._listener = self._listen(self._plan)
        return self._watch

    def _listen(self, plan: Plan) -> Listener | None:
        try:
            arguments = connection_arguments(plan.store, plan.folder)
        except UsageError:
            return None  # the watch reports this error
        return None if arguments is None else Listener(arguments, self._hear)

    def _hear(self, word: Word) -> None:
        if word is Word.REPORT:
            if self._watch is not None:
                self._tell_of(self._watch)
            return
        self._is_registry_back |= word is Word.LISTENS
        self._wake.set()

    async def _round(self, watch: Watch) -> None:
        now = clock.now()
        await asyncio.to_thread(watch.round, now)
        self._tell_of(watch)
        if self._mailing is None or self._mailing.done():
            self._mailing = tasks.spawn(self._mail(watch, now), name="mail")

    async def _mail(self, watch: Watch, now: datetime) -> None:
        await watch.mail(now, self._outages)
        self._tell_of(watch)

    def _tell_of(self, watch: Watch) -> None:
        if watch is self._watch:
            self._tell(watch.report(None if self._listener is None else self._listener.report))
