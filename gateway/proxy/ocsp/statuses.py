"""Caches the OCSP status of client certificates: one request for many uses, without blocking other clients.

Keeps true: if a site uses OCSP, a certificate is trusted only with a currently valid answer, or under
`soft` if no answer could be obtained. At most one request per certificate is under way. A certificate that a responder
called revoked stays refused until the responder says otherwise, even if the responder fails later. An older answer
never replaces a newer one. Each worker asks separately.
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
from gateway.proxy.snapshot import SiteState
from gateway.x509 import ocsp
from gateway.x509.loading import certificate_in
from gateway.x509.ocsp import OcspAnswer, OcspError
from gateway.x509.status import Status

if TYPE_CHECKING:
    from gateway.proxy.ocsp.client import OcspClient

# Certificates whose status is cached, about 1 MiB; the least recently used is dropped first.
MAX_REMEMBERED_STATUSES: Final = 4096
# After a failure; otherwise under `hard` every request would ask again.
RETRY_SECONDS: Final = 10.0
# Failures of a responder are logged once a minute, because a responder that is down fails for every certificate.
LOG_SECONDS: Final = 60.0
# A responder that has been silent for this long is down; a shorter silence is a restart.
SILENT_SECONDS: Final = 60.0
# After this time without a request, nothing is known about the responder.
FORGOTTEN_SECONDS: Final = 600.0
# One certificate may name a responder that never existed; two hardly do.
MIN_UNANSWERED: Final = 2

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WAITING: Final = "the OCSP responder is being asked"

_log = logging.getLogger("gateway.ocsp")
Ask = Callable[[str, bytes], Awaitable[bytes]]


@dataclass(slots=True, eq=False)
class _Entry:
    """One certificate on one site."""

    generation: int = 0  # of the trust at the last request
    answer: OcspAnswer | None = None  # the last valid one
    failure: str | None = None  # why the last request had no valid answer
    until: datetime = _LONG_AGO  # when to ask again
    question: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _Silence:
    """Since when no request about a site's certificates had a valid answer; monotonic seconds."""

    since: float
    last: float
    certificates: set[str]  # fingerprints, at most `MIN_UNANSWERED`
    is_configured: bool = False  # the responder is named in the configuration


class Statuses:
    """The OCSP cache of one worker. Connections use only `look_up` and `holds_until`."""

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask`: sends a request to a URL, raises `OcspError`; None: by HTTP."""
        self._ask = ask
        self._client: OcspClient | None = None
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._told: dict[str, float] = {}  # responder → when its failure was last logged, monotonic seconds
        self._silences: dict[str, _Silence] = {}  # by site

    def look_up(
        self, state: SiteState, judgement: Judgement, now: datetime
    ) -> tuple[Judgement, asyncio.Task[None] | None]:
        """(the judgement after OCSP, the request under way); while a request is under way, refused as unknown."""
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
        """When `look_up` must be called again for this judgement; None if OCSP doesn't apply."""
        identity = judgement.identity
        if identity is None or judgement.reason is not None:
            return None
        entry = self._entry(state.site.name, identity.fingerprint)
        return entry.until if entry.question is None else _LONG_AGO

    def silent_sites(self) -> list[str]:
        """The sites whose responder has given no valid answer for a while, although it was asked."""
        now = clock.monotonic_seconds()
        return [
            site
            for site, silence in self._silences.items()
            if now - silence.since >= SILENT_SECONDS
            and now - silence.last < FORGOTTEN_SECONDS
            and (silence.is_configured or len(silence.certificates) >= MIN_UNANSWERED)
        ]

    async def close(self) -> None:
        """Cancel all requests and close connections."""
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
            # importing aiohttp takes a third of a second: a snapshot that needs it does it before clients are served.
            from gateway.proxy.ocsp.client import OcspClient  # noqa: PLC0415

            self._client = OcspClient()
        return self._client.ask


def _take(entry: _Entry, answer: OcspAnswer) -> str | None:
    """Cache an answer; returns the cause if it isn't used, because it is older than the cached one."""
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
