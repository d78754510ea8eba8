"""The publisher's answers: the registry's newest revocation lists, authorities' certificates, and OCSP answers.

Keeps true: answers have only public data, and names are looked up in the registry and never used as paths; cached
answers are dropped as soon as a list's number has changed, so a revocation is in the next answer; the number of
requests that wait for the registry is limited, and further ones are refused for the moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, TypeVar, cast

from gateway import clock, tasks
from gateway.commands import at_desk
from gateway.errors import GatewayError, OperationError, RequestError, in_one_line
from gateway.facts import Reason
from gateway.http.published import Kind, Wanted, is_unchanged
from gateway.http.relay import Question, Reply
from gateway.pki import ocsp
from gateway.pki.registry import authorities
from gateway.pki.registry.engine import Registry
from gateway.x509.loading import certificate_in

# A query of the registry takes about a millisecond, most of it in Python.
THREADS: Final = 4
# Queries that wait for a thread; if the registry answers, less than a second's work.
MAX_WAITING: Final = 64
# How old the lists' numbers may be that decide whether a cached answer is the newest.
FRESH_SECONDS: Final = 0.1
# How long signed answers are cached: a busy client sends its request again within that time.
KEPT_SECONDS: Final = 60.0
MAX_KEPT_ANSWERS: Final = 4096
MAX_KEPT_REQUEST_BYTES: Final = 256  # usual requests are shorter
# Some 400,000 revoked certificates. Longer lists would need partitioning, which the gateway doesn't support.
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
MAX_KEPT_LIST_BYTES: Final = 64 * 1024 * 1024
# How long caches may delay a revocation; asking the gateway for changes costs them little.
MAX_AGE: Final = timedelta(minutes=5)
# A failure that every request causes is logged once in this time.
REPEAT_SECONDS: Final = 60.0

Answer = tuple[Reply, bytes]
_T = TypeVar("_T")
_NUMBERS: Final = "the lists' numbers"

_log = logging.getLogger("gateway.publisher")


@dataclass(frozen=True, slots=True)
class _File:
    """Bytes that are served unchanged."""

    data: bytes
    etag: str
    modified: datetime
    until: datetime | None = None  # when it ends; None: it does not change

    @classmethod
    def of(cls, data: bytes, modified: datetime, until: datetime | None = None) -> _File:
        return cls(data, f'"{hashlib.sha256(data).hexdigest()[:32]}"', modified, until)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A signed answer, and the lists' numbers at that time."""

    file: _File
    numbers: _Numbers
    until_seconds: float


_Numbers = dict[str, authorities.Listed]  # by the authority's name


class Answers:
    """Answers the workers' questions."""

    def __init__(self, registry: Registry, signers: ocsp.Signers, options: str) -> None:
        """`options`: with which `gateway ca` in messages finds the registry."""
        self._registry = registry
        self._signers = signers
        self._options = options
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="registry")
        self._waiting = 0
        self._numbers: _Numbers = {}
        self._numbers_seconds = float("-inf")  # when they were read, monotonic
        self._going: dict[Hashable, asyncio.Task[Any]] = {}  # running queries, see `_once`
        self._lists: dict[str, tuple[authorities.Listed, _File]] = {}
        self._answers: dict[bytes, _Kept] = {}
        self._said: dict[str, float] = {}  # log line → when it was logged, monotonic

    def close(self) -> None:
        """Send no further queries to the registry."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, question: Question) -> Answer:
        """The answer and its body. Raises `RequestError`."""
        wanted = question.wanted
        try:
            match wanted.kind:
                case Kind.LIST:
                    return _served(question, await self._list(wanted), "application/pkix-crl")
                case Kind.CERTIFICATE:
                    return _served(question, await self._certificate(wanted), "application/pkix-cert")
                case Kind.OCSP:
                    return await self._status(question, wanted.request or b"")
        except GatewayError as error:
            if isinstance(error, RequestError):
                raise
            self._say(in_one_line(error))
            raise RequestError(Reason.NO_HEALTHY_UPSTREAM, error.cause) from error

    # lists and certificates

    async def _list(self, wanted: Wanted) -> _File:
        listed = await self._known(wanted)
        kept = self._lists.get(wanted.name)
        if kept is None or kept[0] != listed:
            kept = await self._once(listed, lambda: self._new_list(listed))
        file = kept[1]
        if file.until is not None and file.until <= clock.now():
            # Clients see that it has ended. Without any list, some of them would accept all certificates.
            end = f"{file.until:%Y-%m-%d %H:%M} UTC"
            self._say(f"the revocation list of '{wanted.name}' expired {end}; run 'gateway ca crl {wanted.name}'")
        return file

    async def _new_list(self, listed: authorities.Listed) -> tuple[authorities.Listed, _File]:
        kept = listed, await self._run(lambda: self._read_list(listed.name))
        self._keep_list(listed.name, kept)
        return kept

    def _read_list(self, name: str) -> _File:
        with self._registry.reading() as connection:
            record = authorities.find(connection, name)
        if record is None or record.crl_der is None or record.crl_this_update is None:
            raise RequestError(Reason.NOT_FOUND, f"authority '{name}' has no revocation list")
        if len(record.crl_der) > MAX_LIST_BYTES:
            raise OperationError(f"the revocation list of '{name}' is longer than {MAX_LIST_BYTES} bytes")
        return _File.of(record.crl_der, record.crl_this_update, record.crl_next_update)

    def _keep_list(self, name: str, kept: tuple[authorities.Listed, _File]) -> None:
        self._lists.pop(name, None)
        self._lists[name] = kept
        while sum(len(file.data) for _, file in self._lists.values()) > MAX_KEPT_LIST_BYTES:
            del self._lists[next(iter(self._lists))]

    async def _certificate(self, wanted: Wanted) -> _File:
        der = (await self._known(wanted)).certificate_der
        return _File.of(der, certificate_in(der).not_valid_before_utc)

    async def _known(self, wanted: Wanted) -> authorities.Listed:
        if (found := (await self._fresh()).get(wanted.name)) is None:
            raise RequestError(Reason.NOT_FOUND, f"there is no authority '{wanted.name}'")
        return found

    # certificate status

    async def _status(self, question: Question, request: bytes) -> Answer:
        try:
            numbers = await self._fresh()
            kept = self._answers.get(request)
            if kept is None or kept.numbers is not numbers or kept.until_seconds <= clock.unix_seconds():
                response = await self._run(lambda: ocsp.respond(request, self._registry, self._signer, clock.now()))
                if response.next_update is None or response.this_update is None:
                    return _not_kept(response.der)
                kept = self._keep_answer(request, response.der, response.this_update, response.next_update, numbers)
        except OperationError as error:
            self._say(in_one_line(error))
            return _not_kept(ocsp.try_later().der)
        if not question.is_cacheable:
            return _not_kept(kept.file.data)
        return _served(question, kept.file, _OCSP_TYPE)

    def _keep_answer(
        self, request: bytes, der: bytes, this_update: datetime, next_update: datetime, numbers: _Numbers
    ) -> _Kept:
        until = min(clock.unix_seconds() + KEPT_SECONDS, next_update.timestamp())
        kept = _Kept(_File.of(der, this_update, next_update), numbers, until)
        if len(request) <= MAX_KEPT_REQUEST_BYTES:
            self._answers.pop(request, None)
            if len(self._answers) >= MAX_KEPT_ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[request] = kept
        return kept

    def _signer(self, name: str) -> ocsp.Signer | None:
        """The same as `Signers`, but logs why there is no good answer. Runs in a thread."""
        try:
            signer = self._signers(name)
        except GatewayError as error:
            self._say(in_one_line(error))
            raise
        if signer is None:
            self._say(f"authority '{name}' has no OCSP signer; run 'gateway ca ocsp {name}'")
        elif signer.certificate.not_valid_after_utc < clock.now():
            self._say(f"the OCSP signer of authority '{name}' has expired; run 'gateway ca ocsp {name}'")
        return signer

    # the registry

    async def _fresh(self) -> _Numbers:
        """The numbers of all lists; the same object as before if nothing has changed. Raises `OperationError`."""
        if clock.monotonic_seconds() - self._numbers_seconds < FRESH_SECONDS:
            return self._numbers
        return await self._once(_NUMBERS, self._ask_numbers)

    async def _ask_numbers(self) -> _Numbers:
        began = clock.monotonic_seconds()  # a change during the query is seen the next time
        found = await self._run(self._read_numbers)
        if found != self._numbers:
            self._numbers = found
            self._answers.clear()
        self._numbers_seconds = began
        return self._numbers

    def _read_numbers(self) -> _Numbers:
        with self._registry.reading() as connection:
            return {listed.name: listed for listed in authorities.listed(connection)}

    async def _once(self, what: Hashable, find_out: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """The result of `find_out`; callers that want the same meanwhile share one run. Raises `GatewayError`."""
        going = self._going.get(what)
        if going is None:
            going = tasks.spawn(self._outcome(what, find_out), name=f"look for {what}")
            self._going[what] = going
        outcome = await asyncio.shield(going)  # a caller that is cancelled does not cancel it for the others
        if isinstance(outcome, GatewayError):
            raise outcome
        return cast("_T", outcome)

    async def _outcome(self, what: Hashable, find_out: Callable[[], Coroutine[Any, Any, _T]]) -> _T | GatewayError:
        try:
            return await find_out()
        except GatewayError as error:  # returned to the callers; raised here, it would also be logged as a failed task
            return error
        finally:
            del self._going[what]

    async def _run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread. Raises `OperationError` if too many callers wait for one."""
        if self._waiting >= MAX_WAITING:
            raise OperationError("too many requests wait for the registry", "Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _say(self, text: str) -> None:
        text = at_desk(text, self._options)
        now = clock.monotonic_seconds()
        self._said = {each: at for each, at in self._said.items() if now - at < REPEAT_SECONDS}
        if text not in self._said:
            self._said[text] = now
            _log.warning("%s", text)


_OCSP_TYPE: Final = "application/ocsp-response"


def _served(question: Question, file: _File, kind: str) -> Answer:
    """A file with how long caches may keep it (RFC 5019 section 6.2), or 304 if the client has it (RFC 9110 15.4.5)."""
    now = clock.now()
    left = MAX_AGE if file.until is None else min(MAX_AGE, file.until - now)
    seconds = int(left.total_seconds())
    keeping = f"max-age={seconds}, public, no-transform, must-revalidate" if seconds > 0 else "no-cache"
    common = [("Date", _date(now)), ("ETag", file.etag), ("Cache-Control", keeping)]
    common.append(("Last-Modified", _date(file.modified)))
    if is_unchanged(file.etag.encode("ascii"), file.modified, question.if_none_match, question.if_modified_since):
        return Reply(304, tuple(common), 0), b""
    return _reply(file.data, kind, common)


def _not_kept(der: bytes) -> Answer:
    return _reply(der, _OCSP_TYPE, [("Date", _date(clock.now())), ("Cache-Control", "no-store")])


def _reply(data: bytes, kind: str, common: list[tuple[str, str]]) -> Answer:
    fields = (*common, ("Content-Type", kind), ("X-Content-Type-Options", "nosniff"))
    return Reply(200, fields, len(data)), data


def _date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)
