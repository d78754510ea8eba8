"""What is known online of client certificates: asked once for many requests, and never while others wait.

What this module keeps true: where a site asks its OCSP responder, a certificate counts only with an answer that counts
now, or under `soft` when nobody could be asked; one question a certificate is under way at most; whom a responder
called revoked stays out until it says otherwise, whatever becomes of the responder; an older answer never replaces a
newer one. Each worker asks for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gateway import clock, tasks
from gateway.errors import ConfigError
from gateway.facts import Identity, Judgement, Reason
from gateway.x509 import ocsp
from gateway.x509.loading import certificate_in
from gateway.x509.ocsp import OcspAnswer, OcspError
from gateway.x509.status import Status

if TYPE_CHECKING:
    from gateway.proxy.ocsp import OcspClient
    from gateway.proxy.snapshot import SiteState

# Certificates whose status is remembered, the least recently used is forgotten first: about 1 MiB.
MAX_REMEMBERED_STATUSES: Final = 4096
# After nobody could be asked: under `hard` every request would ask again.
RETRY_SECONDS: Final = 10.0
# A responder that is down fails for every certificate: one line a minute says enough.
LOG_SECONDS: Final = 60.0
# A responder that has been silent for this long is down; a shorter silence is a restart.
SILENT_SECONDS: Final = 60.0
# Without a question since then nothing is known of the responder any more.
FORGOTTEN_SECONDS: Final = 600.0
# One certificate may name a responder that never was; two of them hardly do.
MIN_UNANSWERED: Final = 2

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WAITING: Final = "the OCSP responder is being asked"

_log = logging.getLogger("gateway.ocsp")
Ask = Callable[[str, bytes], Awaitable[bytes]]


@dataclass(slots=True, eq=False)
class _Entry:
    """One certificate on one site."""

    generation: int = 0  # of the trust that the last question was asked under
    answer: OcspAnswer | None = None  # the last that counted
    failure: str | None = None  # why the last question had no answer that counts
    until: datetime = _LONG_AGO  # when to ask again
    question: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _Silence:
    """No question about the certificates of a site has had an answer that counts; monotonic seconds."""

    since: float
    last: float
    certificates: set[str]  # fingerprints, at most `MIN_UNANSWERED`
    is_configured: bool = False  # the site itself names the responder


class Statuses:
    """The memory of one worker. `look_up` is all that a connection needs."""

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask` sends a request to a URL and raises `OcspError`; None: over HTTP."""
        self._ask = ask
        self._client: OcspClient | None = None
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._told: dict[str, float] = {}  # responder → when its failure was last told, monotonic seconds
        self._silences: dict[str, _Silence] = {}  # by site

    def look_up(
        self, state: SiteState, judgement: Judgement, now: datetime
    ) -> tuple[Judgement, asyncio.Task[None] | None]:
        """What becomes of a trusted judgement; with a question under way, that is refused until it has ended."""
        identity = judgement.identity
        if identity is None or judgement.reason is not None:
            return judgement, None
        entry = self._entry(state.site.name, identity.fingerprint)
        generation, is_soft = state.tls.trust.generation, state.site.ocsp.mode == "soft"
        if entry.question is None and (now > entry.until or entry.generation != generation):
            self._begin(state, identity, entry, generation)
        if entry.question is not None and not (is_soft and entry.failure is not None):
            return Judgement(identity, Reason.REVOCATION_UNKNOWN, _WAITING), entry.question
        return _verdict(entry, judgement, identity, is_soft=is_soft), None

    def holds_until(self, state: SiteState, judgement: Judgement) -> datetime | None:
        """When what `look_up` has just said must be looked up again; None where nothing is asked."""
        identity = judgement.identity
        if identity is None or judgement.reason is not None:
            return None
        entry = self._entry(state.site.name, identity.fingerprint)
        return entry.until if entry.question is None else _LONG_AGO

    def silent_sites(self) -> list[str]:
        """The sites for whose certificates no answer has come for a while, though some were asked about."""
        now = clock.monotonic_seconds()
        return [
            site
            for site, silence in self._silences.items()
            if now - silence.since >= SILENT_SECONDS
            and now - silence.last < FORGOTTEN_SECONDS
            and (silence.is_configured or len(silence.certificates) >= MIN_UNANSWERED)
        ]

    async def close(self) -> None:
        """Ask no more."""
        for entry in self._entries.values():
            if entry.question is not None:
                entry.question.cancel()
        if self._client is not None:
            await self._client.close()

    def _entry(self, site: str, fingerprint: str) -> _Entry:
        key = site, fingerprint
        entry = self._entries.pop(key, None)
        if entry is None:
            entry = _Entry()
            if len(self._entries) >= MAX_REMEMBERED_STATUSES:
                del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        return entry

    def _begin(self, state: SiteState, identity: Identity, entry: _Entry, generation: int) -> None:
        entry.generation = generation
        try:
            leaf = certificate_in(identity.der)
            issuer = certificate_in(identity.chain_der[0])
            responder = state.site.ocsp.responder
            url = ocsp.responder_url(leaf) if responder == "from_certificate" else responder
            request = ocsp.request_for(leaf, issuer)
        except (OcspError, ConfigError) as error:
            self._failed(entry, identity, state, state.site.name, str(error))
            return

        async def ask() -> None:
            failure: str | None = "the request to the OCSP responder was cancelled"
            try:
                answer = ocsp.verify_response(
                    await (self._ask or self._http())(url, request), leaf, issuer, clock.now()
                )
                failure = _take(entry, answer)
            except OcspError as error:
                failure = error.cause
            finally:
                entry.question = None
                if failure is not None:
                    self._failed(entry, identity, state, url, failure)
                else:
                    self._silences.pop(state.site.name, None)

        entry.question = tasks.spawn(ask(), name=f"ocsp {identity.fingerprint[:16]}")

    def _failed(self, entry: _Entry, identity: Identity, state: SiteState, responder: str, failure: str) -> None:
        self._note_silence(state, identity)
        entry.failure = failure
        entry.until = clock.now() + timedelta(seconds=RETRY_SECONDS)
        now = clock.monotonic_seconds()
        if now - self._told.get(responder, -LOG_SECONDS) >= LOG_SECONDS:
            self._told = {name: at for name, at in self._told.items() if now - at < LOG_SECONDS} | {responder: now}
            told = "the revocation status of %s (%s) is unknown: %s"
            _log.warning(told, identity.subject, identity.fingerprint, failure)

    def _note_silence(self, state: SiteState, identity: Identity) -> None:
        now = clock.monotonic_seconds()
        silence = self._silences.get(state.site.name)
        if silence is None or now - silence.last >= FORGOTTEN_SECONDS:
            silence = self._silences[state.site.name] = _Silence(now, now, set())
        silence.last = now
        silence.is_configured = state.site.ocsp.responder != "from_certificate"
        if len(silence.certificates) < MIN_UNANSWERED:
            silence.certificates.add(identity.fingerprint)

    def _http(self) -> Ask:
        if self._client is None:
            # aiohttp takes a third of a second to import: a snapshot that needs it does so before anybody is served.
            from gateway.proxy.ocsp import OcspClient  # noqa: PLC0415

            self._client = OcspClient()
        return self._client.ask


def _take(entry: _Entry, answer: OcspAnswer) -> str | None:
    """Remember an answer; returns why it doesn't count, where it is older than one that came before."""
    known = entry.answer
    if known is not None and answer.this_update < known.this_update:
        return f"the responder's answer of {answer.this_update:%Y-%m-%d %H:%M:%S} UTC is older than one it gave before"
    entry.answer, entry.failure, entry.until = answer, None, answer.until
    return None


def _verdict(entry: _Entry, judgement: Judgement, identity: Identity, *, is_soft: bool) -> Judgement:
    answer = entry.answer
    if answer is not None and answer.status is Status.REVOKED:
        return Judgement(identity, Reason.CERTIFICATE_REVOKED, answer.detail, answer.is_on_hold)
    if entry.failure is not None:
        return judgement if is_soft else Judgement(identity, Reason.REVOCATION_UNKNOWN, entry.failure)
    if answer is None or answer.status is not Status.GOOD:
        detail = _WAITING if answer is None else answer.detail
        return Judgement(identity, Reason.REVOCATION_UNKNOWN, detail)
    return judgement
