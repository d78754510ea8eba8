"""Fetches revocation lists from every URL of the configuration, again and again.

Keeps true: a list is requested long before it ends; a server that is down or sends garbage causes a line in the log,
and the last good list stays; its answers are first read in this process, which serves no clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import Final

import aiohttp
from cryptography import x509

from gateway import clock, tasks
from gateway.errors import GatewayError, in_one_line
from gateway.fetching.download import Validators, download, download_context, open_session
from gateway.fetching.earlier_deltas import bytes_to_keep, newest_of_each_kind
from gateway.fetching.limits import Memory, Threads
from gateway.fetching.list_store import ListStore, NotBegunError, check_successor
from gateway.fetching.plan import Plan
from gateway.redaction import without_secrets
from gateway.x509.revocation_list import RevocationList, parse_lists

# The next request comes after this part of the list's remaining validity, so that there is time for retries.
REFRESH_FRACTION: Final = 0.5
# A revocation must be known within an hour, however long the list is valid.
MAX_INTERVAL_SECONDS: Final = 3600.0
# A list that is about to end is not requested more often: that does not make the CA publish the next one.
MIN_INTERVAL_SECONDS: Final = 30.0
# The wait after a failure is doubled each time.
FIRST_RETRY_SECONDS: Final = 10.0
MAX_RETRY_SECONDS: Final = 900.0
# Each wait is up to this much shorter, so that gateways that were started together don't send requests together.
JITTER_FRACTION: Final = 0.2

_log = logging.getLogger("gateway.fetcher")


class Shared:
    """The TLS context, threads and memory limit that all URLs share."""

    def __init__(self) -> None:
        self.context = download_context()
        self.threads = Threads()
        self.memory = Memory()


class Fetcher:
    """Fetches all URLs of the newest plan."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._shared = Shared()
        self._stopping = asyncio.Event()

    def follow(self, plan: Plan, store: ListStore) -> None:
        """Follow this plan from now on. The time of the next request does not change for URLs that stay in it."""
        for url, source in self._sources.items():
            source.follow(plan.get(url))
        for url, anchors in plan.items():
            if url not in self._sources:
                self._sources[url] = source = Source(url, anchors, store, self._shared)
                task = tasks.spawn(self._keep(source), name=f"fetch {source.shown}")
                self._running.add(task)
                task.add_done_callback(self._ended)

    def fetch_now(self) -> None:
        """Send a request to every server now."""
        for source in self._sources.values():
            source.due.set()

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Fetch until `stop` is called."""
        await self._stopping.wait()
        for source in self._sources.values():
            source.follow(None)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._shared.threads.close()

    async def _keep(self, source: Source) -> None:
        async with open_session(self._shared.context) as session:
            await source.keep(session)
            del self._sources[source.url]  # now, so that a plan that names the URL again starts it again

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.stop()  # an unexpected error has ended the task: the master starts another fetcher


class Source:
    """One URL, its last good list and the time of the next request."""

    def __init__(self, url: str, anchors: Sequence[x509.Certificate], store: ListStore, shared: Shared) -> None:
        self.url = url
        self.shown = without_secrets(url)
        self.due = asyncio.Event()  # set: send a request now
        self._is_wanted = True
        self._anchors = tuple(anchors)
        self._store = store
        self._shared = shared
        self._validators = Validators()
        self._failures = 0
        self._is_lasting = True

    def follow(self, anchors: Sequence[x509.Certificate] | None) -> None:
        """From now on, one of these CAs must have signed the list; None: the list is no longer needed."""
        if anchors is None:
            self._is_wanted = False
        elif self._is_wanted and tuple(anchors) == self._anchors:
            return
        else:
            self._is_wanted, self._anchors = True, tuple(anchors)
        self.due.set()

    async def keep(self, session: aiohttp.ClientSession) -> None:
        """Fetch the list again and again, as long as it is needed."""
        while self._is_wanted:
            seconds = await self.refresh(session)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.due.wait()
            self.due.clear()

    async def refresh(self, session: aiohttp.ClientSession) -> float:
        """Send one request; returns after how many seconds to send the next."""
        try:
            lists = await self._fetch(session)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - also a panic in a Rust parser: other URLs must be fetched
            cause = (
                in_one_line(error)
                if isinstance(error, GatewayError)
                else f"{self.shown}: {type(error).__name__}: {error}"
            )
            self._failures += 1
            seconds = retry_seconds(self._failures, random.random())  # noqa: S311 - spreads load, guards nothing
            if isinstance(error, NotBegunError):
                left = error.begins.timestamp() - clock.unix_seconds()
                seconds = min(seconds, max(left, MIN_INTERVAL_SECONDS))
            is_stored = await self._shared.threads.run(lambda: self._store.has(self.url))
            what_counts = "the last good list stays" if is_stored else "there is no list"
            _log.warning("%s; %s, next try in %.0f s", without_secrets(cause), what_counts, seconds)
            return seconds
        self._failures = 0
        return interval_seconds(lists, clock.unix_seconds(), random.random())  # noqa: S311 - the same

    async def _fetch(self, session: aiohttp.ClientSession) -> tuple[RevocationList, ...]:
        """Fetch; returns the lists that count now. Raises `GatewayError` if that fails."""
        threads = self._shared.threads
        known = self._validators if await threads.run(lambda: self._store.has(self.url)) else Validators()
        async with self._shared.memory.hold(self.shown) as held:
            found = await download(session, self.url, known, held.take)
            held.end()
            lists = await threads.run(lambda: self._take(found.data), held.count)
        self._validators = found.validators
        return lists

    def _take(self, fetched: bytes | None) -> tuple[RevocationList, ...]:
        """Store a new list if it may replace the last one; None: the last one has not changed."""
        stored = self._store.read(self.url)
        data = fetched if fetched is not None else stored or b""
        if data == stored:
            return parse_lists(data, self.shown)
        lists = check_successor(self.url, data, stored, self._anchors, clock.now())
        data = bytes_to_keep(self.shown, data, lists, stored, self._anchors)
        if data != stored:
            self._keep(data, lists)
        return lists

    def _keep(self, data: bytes, lists: Sequence[RevocationList]) -> None:
        fault = self._store.write(self.url, data)
        if fault is not None and self._is_lasting:
            lost = "fetched lists are used, but are lost when the gateway stops"
            _log.warning("%s: %s; let the gateway write to this folder", fault, lost)
        self._is_lasting = fault is None
        for entry in lists:
            kind = "list" if entry.base_number is None else "delta list"
            number = "" if entry.number < 0 else f" number {entry.number}"
            _log.info(
                *("%s: fetched the %s%s of %r, %d revoked, valid until %s UTC", self.shown, kind, number),
                *(entry.issuer.rfc4514_string(), len(entry.serials), f"{entry.next_update:%Y-%m-%d %H:%M}"),
            )


def interval_seconds(lists: Sequence[RevocationList], now: float, chance: float) -> float:
    """How long to wait after a success; `now` in Unix seconds, `chance` a random number from 0 to 1."""
    left = min(entry.next_update.timestamp() for entry in newest_of_each_kind(lists)) - now
    seconds = min(MAX_INTERVAL_SECONDS, max(MIN_INTERVAL_SECONDS, left * REFRESH_FRACTION))
    return seconds * (1 - JITTER_FRACTION * chance)


def retry_seconds(failures: int, chance: float) -> float:
    """How long to wait after so many failures in a row, 1 or more; `chance` a random number from 0 to 1."""
    doublings = min(failures - 1, 16)
    return min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0**doublings) * (1 - JITTER_FRACTION * chance)
