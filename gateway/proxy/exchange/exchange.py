"""Carries one request to an upstream connection, and its answer back.

Keeps true: the upstream gets only data written from parsed values. Bodies are never buffered completely; a side that
reads slowly stops the other (backpressure). An incomplete answer is cut off for the client too, never ended as if it
were complete. Connections that are tied together by a login survive an answer that arrives before the end of the
request. The access record is written exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from gateway import clock
from gateway.errors import RequestError, UpstreamError
from gateway.facts import Reason
from gateway.http.events import FieldParts
from gateway.http.fields import Fields
from gateway.http.http1 import HTTP_2, ResponseHead
from gateway.logs.record import AccessRecord
from gateway.proxy.exchange.admission import Admitted
from gateway.proxy.exchange.answer import Answer, unexpected
from gateway.proxy.exchange.connection_logins import is_failed_login
from gateway.proxy.exchange.http2_answer import Http2Answer
from gateway.proxy.exchange.request_body import RequestBody
from gateway.proxy.exchange.retry import STALE_SECONDS, may_keep, may_repeat
from gateway.proxy.exchange.tunnel import Tunnel
from gateway.proxy.limits.kept_bodies import KeptBody
from gateway.proxy.ports import Downstream
from gateway.proxy.upstream.connection import UpstreamConnection
from gateway.proxy.upstream.pool import Pool
from gateway.tls.layer import SLICE_BYTES

_UNAUTHORIZED: Final = 401
# If the upstream sends no 100 for this time, the gateway sends it to the waiting client: an HTTP/1.0 server never sends
# one (RFC 9110 10.1.1). Most clients don't wait longer.
CONTINUE_SECONDS: Final = 1.0


class Turn(Enum):
    """What an exchange waits for. `Exchange._expect` sets the deadline for it."""

    CONNECTING = auto()  # the pool, which has a time limit of its own
    CLIENT_BODY = auto()  # more of the request's body
    AWAIT_CONTINUE = auto()  # the upstream's 100, before the body
    UPSTREAM = auto()  # the upstream: to read what was written, or to answer
    CLIENT_READS = auto()  # the client: to read what was written
    LOGIN_TAIL = auto()  # the rest of the body after an early answer, so that a login's connections survive


# Constants of the module: with CPython 3.11, `Turn.UPSTREAM` takes eight times as long.
_CONNECTING: Final = Turn.CONNECTING
_CLIENT_BODY: Final = Turn.CLIENT_BODY
_AWAIT_CONTINUE: Final = Turn.AWAIT_CONTINUE
_UPSTREAM: Final = Turn.UPSTREAM
_CLIENT_READS: Final = Turn.CLIENT_READS
_LOGIN_TAIL: Final = Turn.LOGIN_TAIL
_CLIENTS_TURNS: Final = (_CLIENT_BODY, _LOGIN_TAIL)


class Exchange:
    """One admitted request, until its answer is delivered or has failed."""

    __slots__ = (
        "_address",
        "_answer",
        "_body",
        "_client",
        "_connect_task",
        "_is_done",
        "_kept",
        "_limits",
        "_logs_in",
        "_request",
        "_sent_at",
        "_turn",
        "_upstream",
        "head",
        "pool",
        "record",
    )

    def __init__(
        self,
        client: Downstream[UpstreamConnection],
        pool: Pool,
        admitted: Admitted,
        record: AccessRecord,
        hsts: FieldParts,
    ) -> None:
        self._client = client
        self.pool = pool
        self.record = record
        self.head = head = admitted.head
        self._address = admitted.address
        self._logs_in = admitted.pins
        request_id = (record.request_id or "").encode("ascii")
        self._request = b"%b%b%b" % (admitted.before, request_id, admitted.after)
        snapshot = client.snapshot
        self._limits = snapshot.config.limits
        self._body = RequestBody(head, self._limits, snapshot.classify) if head.has_body else None
        self._upstream: UpstreamConnection | None = None
        self._connect_task: asyncio.Task[None] | None = None
        answer = Http2Answer if head.version == HTTP_2 else Answer
        self._answer = answer(head, admitted.rewriter, request_id, hsts)
        self._sent_at = 0.0
        self._kept: KeptBody | None = None  # the part of the body that was sent, for a retry
        self._is_done = False
        self._turn = _CONNECTING

    def __repr__(self) -> str:
        return f"<Exchange {self.record.method} {self.record.uri!r} {self._turn.name} via {self._upstream!r}>"

    def _expect(self, turn: Turn, now: float, at: float | None = None) -> None:
        """Wait for `turn` from `now` on, until its deadline, or until `at` if that is known better."""
        self._turn = turn
        if at is not None:
            self._client.deadline = at
        elif turn is _UPSTREAM:
            self._client.deadline = now + self.pool.upstream.timeouts.response_seconds
        elif turn in _CLIENTS_TURNS:
            is_trickling = self._body is not None and self._body.is_trickling
            timeouts, limits = self.pool.upstream.timeouts, self._limits
            seconds = timeouts.response_seconds if is_trickling else limits.transfer_idle_seconds
            self._client.deadline = now + seconds
        elif turn is _CLIENT_READS:
            self._client.deadline = now + self._limits.transfer_idle_seconds
        elif turn is _AWAIT_CONTINUE:
            self._client.deadline = now + CONTINUE_SECONDS
        else:
            self._client.deadline = float("inf")

    # the request

    def start(self) -> None:
        """Send the request on an idle connection, or on a new one."""
        client = self._client
        pinned = client.pinned
        if pinned is not None and not self._can_use(pinned):
            pinned = None
            client.unpin()
        if pinned is None and client.carries_login:
            self._close_unanswered("the upstream connection on which the client had logged in can't be used any more")
            return
        try:
            # A login begins on a new connection: one from the pool may be about to close, and then there is no retry.
            connection = pinned or (None if client.pins else self.pool.take(self._address))
        except UpstreamError as error:
            self.fail(error)
            return
        if connection is None:
            self._connect()
        else:
            self.attach(connection)

    def _can_use(self, pinned: UpstreamConnection) -> bool:
        """False if a reload or DNS has changed the server, or the connection is about to end.

        Also if a body may still follow its last answer, unless the client would lose a login.
        """
        if pinned.pool is not self.pool or not pinned.is_usable():
            return False
        return self._client.carries_login or not pinned.is_spent

    def _connect(self) -> None:
        client = self._client
        self._expect(_CONNECTING, 0.0)
        header = client.proxy_header() if self.pool.upstream.proxy_protocol else b""
        self._connect_task = self.pool.connect(self._address, header, self.attach, self.fail)

    def attach(self, connection: UpstreamConnection) -> None:
        """Use this connection until the exchange ends, and send the request."""
        self._connect_task = None
        self._upstream = connection
        connection.exchange = self
        self.record.upstream = connection.state.url
        self._sent_at = now = clock.monotonic_seconds()
        if self._logs_in:
            self._client.carries_login = True
        if self._body is None:
            connection.transport.write(self._request)
            self._expect(_UPSTREAM, now)
        else:
            self._attach_body(connection, self._body, now)

    def _attach_body(self, connection: UpstreamConnection, body: RequestBody, now: float) -> None:
        client, kept = self._client, self._kept
        if kept is None:
            connection.transport.write(self._request)
            if connection.exchanges and not client.carries_login and may_keep(self.head):
                self._kept = KeptBody(client.kept_bodies)
        else:  # the only retry
            self._kept = None
            connection.transport.write(self._request + kept.release())
        body.begin(now)
        if body.reader.is_complete:
            self._expect(_UPSTREAM, now)
            return
        self._expect(_CLIENT_BODY, now)
        client.feed_exchange()
        if self._answer.awaits_continue and not self._is_done:
            if connection.state.is_http_1_0:
                self._let_continue()
            else:
                self._expect(_AWAIT_CONTINUE, now)

    def _let_continue(self) -> None:
        """Send a 100 to the client, which waits before sending its body."""
        self._client.send([self._answer.let_continue()])
        self._expect(_CLIENT_BODY, clock.monotonic_seconds())

    @property
    def takes_body(self) -> bool:
        """True if bytes from the client belong to the request's body and can be forwarded."""
        body = self._body
        return body is not None and not body.reader.is_complete and self._upstream is not None

    def request_data(self, data: bytes) -> bytes:
        """Forward bytes of the body; returns the bytes after the body."""
        body, upstream, client = self._body, self._upstream, self._client
        if body is None or upstream is None:
            return data
        self._answer.awaits_continue = False
        now = clock.monotonic_seconds()
        try:
            out, rest = body.feed(data, now, is_held_up=client.is_read_paused)
        except RequestError as error:
            self.fail(error)
            return b""
        return self._forward(upstream, body, out, rest, now)

    def request_end(self, trailers: Fields) -> None:
        """Complete a body that a frame of HTTP/2 ends."""
        body, upstream = self._body, self._upstream
        if body is None or upstream is None or body.reader.is_complete:
            return
        self._answer.awaits_continue = False
        now = clock.monotonic_seconds()
        try:
            out = body.end(trailers, now, is_held_up=self._client.is_read_paused)
        except RequestError as error:
            self.fail(error)
            return
        self._forward(upstream, body, out, b"", now)

    def _forward(self, upstream: UpstreamConnection, body: RequestBody, out: bytes, rest: bytes, now: float) -> bytes:
        """Send a part of the body, and set the deadline; returns the bytes after the body."""
        client = self._client
        if self._kept is not None and not self._kept.add(out, body.bytes_in):
            self._kept = None
        upstream.transport.write(out)
        if body.reader.is_complete:
            if self._is_over(upstream):
                client.hold(rest)
                self._complete(is_clean=True)
                return b""
            self._await_upstream(upstream, body, now)
        elif upstream.is_write_paused:
            self._await_upstream(upstream, body, now)
        elif self._awaits_body:
            self._expect(_LOGIN_TAIL if self._answer.is_complete else _CLIENT_BODY, now)
        elif not client.is_write_paused:  # both ways at once
            self._expect(_UPSTREAM, now)
        return rest

    def _await_upstream(self, upstream: UpstreamConnection, body: RequestBody, now: float) -> None:
        """Wait for the upstream to read what was written, which may take long, or to answer."""
        seconds = self.pool.upstream.timeouts.response_seconds
        at = None if body.bytes_in <= SLICE_BYTES else upstream.watch_progress(now, seconds)
        if not self._client.is_write_paused:
            self._expect(_UPSTREAM, now, at)

    @property
    def _awaits_body(self) -> bool:
        """True if the exchange waits only for the client's body."""
        if not self.takes_body or self._client.is_read_paused:
            return False
        return self._answer.response is None or self._answer.is_complete

    @property
    def _clients_turn(self) -> Turn:
        """What the exchange waits for if `_awaits_body`."""
        if self._answer.awaits_continue:
            return _AWAIT_CONTINUE
        return _LOGIN_TAIL if self._answer.is_complete else _CLIENT_BODY

    def _is_over(self, upstream: UpstreamConnection) -> bool:
        """True if the answer was read and the request was written completely."""
        return self._answer.is_complete and not self.takes_body and not upstream.is_write_paused

    def pause_request(self) -> None:
        """The upstream reads slowly: pause the client, whose deadline does not run meanwhile."""
        self._client.pause_reading()
        if self._upstream is not None and self._body is not None:
            self._await_upstream(self._upstream, self._body, clock.monotonic_seconds())

    def resume_request(self) -> None:
        """The upstream has caught up: continue reading from the client, with a new deadline."""
        client = self._client
        client.resume_reading()
        body, upstream = self._body, self._upstream  # what the client had sent may have ended the exchange
        if upstream is None or body is None:
            return
        now = clock.monotonic_seconds()
        body.begin(now)
        if self._awaits_body:
            self._expect(self._clients_turn, now)
        elif self._is_over(upstream):
            self._complete(is_clean=True)
        else:
            self._await_upstream(upstream, body, now)

    # the answer

    def upstream_data(self, data: bytes) -> None:
        """Process bytes from the upstream."""
        if self._answer.is_complete:
            self._complete(is_clean=False)  # data after the answer is not allowed
            return
        answer, client = self._answer, self._client
        if answer.left:
            answer.left += data
            return
        is_first, was_awaiting = answer.response is None, answer.awaits_continue
        try:
            events = answer.feed(data, may_keep_alive=client.may_keep_alive(self.head), is_pinned=client.pins)
        except RequestError as error:
            self.fail(unexpected(error))
            return
        response = answer.response
        if is_first:
            self._answer_has_begun(response)
        if events:
            client.send(events)
        if answer.is_complete:
            if answer.is_clean and self._owes_a_login_the_rest():
                self._expect(_LOGIN_TAIL, clock.monotonic_seconds())
            else:
                self._complete(is_clean=answer.is_clean)
        elif answer.is_upgraded:
            self._upgrade()
        elif is_first or answer.left or client.is_write_paused:
            self._expect_more(was_awaiting=was_awaiting)
        else:
            self._expect(_UPSTREAM, clock.monotonic_seconds())

    def _expect_more(self, *, was_awaiting: bool) -> None:
        """Wait for the rest of the answer. `was_awaiting`: the client was waiting for a 100."""
        answer, client = self._answer, self._client
        if (answer.response is not None or not self.takes_body) and not client.is_write_paused:
            self._expect(_UPSTREAM, clock.monotonic_seconds())
        elif was_awaiting and not answer.awaits_continue:
            self._expect(_CLIENT_BODY, clock.monotonic_seconds())
        if answer.left:
            self._wait_turn()

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""
        self._client.wait_turn(go_on)

    def _wait_turn(self) -> None:
        """Continue with the rest of a read after other clients have been served; until then read no more."""
        if self._upstream is not None and not self._client.is_write_paused:  # else `resume_response` continues
            self._upstream.pause_reading()
            self._client.wait_turn(self._go_on)

    def _go_on(self) -> None:
        """Process the next piece of the answer."""
        if self._is_done or self._client.is_write_paused or not self._answer.left:
            return
        self._feed_left()
        if self._upstream is not None and not self._answer.left and not self._client.is_write_paused:
            self._upstream.resume_reading()

    def _finish_left(self) -> None:
        """Process everything that was read, because the upstream's connection ends."""
        while self._answer.left and not self._is_done:
            self._feed_left()

    def _feed_left(self) -> None:
        answer = self._answer
        data, answer.left = answer.left, b""
        self.upstream_data(data)

    def _owes_a_login_the_rest(self) -> bool:
        """True if the answer arrived early and the connections are tied together by a login.

        Without the rest of the body the upstream connection, and so the login, would end.
        """
        client, response, upstream = self._client, self._answer.response, self._upstream
        if not client.pins or client.closes_after_exchange or response is None or not response.is_keep_alive:
            return False
        return upstream is not None and not self._is_over(upstream)

    def _answer_has_begun(self, response: ResponseHead | None) -> None:
        """Use the head of the answer; None: the head has not arrived completely."""
        if self._kept is not None:
            self._forget_kept()
        if response is None:
            return
        answer, client, record = self._answer, self._client, self.record
        record.status = record.upstream_status = response.status
        record.upstream_ms = (clock.monotonic_seconds() - self._sent_at) * 1000
        if self._upstream is not None:
            self._upstream.state.is_http_1_0 = not response.minor
        if answer.binds:
            client.owns_upstream(self.head, is_hidden=answer.goes_on_with_login)
        if response.status == _UNAUTHORIZED and is_failed_login(self.head, response.challenge):
            client.note_failed_login(record.connection.client_ip)

    def _upgrade(self) -> None:
        """The upstream switched protocols as requested: start the tunnel."""
        upstream, self._upstream = self._upstream, None
        self._is_done = True
        if upstream is not None:
            tunnel = Tunnel(self._client, upstream, self.head, self.record)
            tunnel.bytes_out = self._answer.bytes_out  # bytes that arrived with the head
            self._client.tunnel(tunnel)

    def upstream_eof(self) -> bool:
        """The upstream sends no more, which ends some answers. False: its socket can be closed."""
        self._finish_left()
        if self._is_done:
            return False
        events = self._answer.end()
        if events is not None:
            self._client.send(events)
            self._complete(is_clean=False)
        return False

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection was lost before the exchange ended.

        No answer is complete by this, not even one without framing: a complete one ends with a FIN, over TLS after a
        close_notify (RFC 9112 9.8), and then `upstream_eof` was called before.
        """
        self._finish_left()
        upstream, self._upstream = self._upstream, None
        if self._is_done or upstream is None:
            return
        if self._answer.is_complete:
            self._complete(is_clean=False)
            return
        cause = f"the upstream closed the connection: {error or 'before the answer was complete'}"
        if self._had_died_idle(upstream):
            if self._may_retry():
                if self._client.is_read_paused:  # reading was paused for the upstream that is gone
                    self._client.resume_reading()
                self._connect()
                return
            if upstream.is_pinned_to(self._client):
                self._close_unanswered(cause)
                return
        reason = Reason.UPSTREAM_BAD_RESPONSE if self._answer.has_begun else Reason.UPSTREAM_UNREACHABLE
        self.fail(UpstreamError(reason, cause))

    def _had_died_idle(self, upstream: UpstreamConnection) -> bool:
        """True if the server had probably closed the connection before the request reached it."""
        is_old = upstream.exchanges > 0 and not self._answer.has_begun
        return is_old and clock.monotonic_seconds() - self._sent_at <= STALE_SECONDS

    def _may_retry(self) -> bool:
        """True if the request can be repeated safely, and its body was kept completely."""
        if self._client.carries_login or (self._body is not None and self._kept is None):
            return False
        return may_repeat(self.head)

    def _close_unanswered(self, cause: str) -> None:
        """Close without an answer, after which clients retry by themselves."""
        self._is_done = True
        self._forget_kept()
        self.record.bytes_in = self._bytes_in
        self._client.close_unanswered(UpstreamError(Reason.UPSTREAM_UNREACHABLE, cause), self.record)

    def _forget_kept(self) -> None:
        """Free the kept body: no retry is possible any more."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.release()

    def client_eof(self) -> bool:
        """The client sends no more; True if its request may be complete, so that it waits for the answer."""
        body = self._body
        return body is None or body.reader.is_complete or self._upstream is None  # the rest may still be held

    @property
    def bytes_out(self) -> int:
        """About how many bytes of the answer were sent; it grows with every part."""
        return self._answer.bytes_out + self._answer.has_begun

    def pause_response(self) -> None:
        """The client reads slowly: pause the upstream."""
        self._expect(_CLIENT_READS, clock.monotonic_seconds())
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_response(self) -> None:
        """The client has caught up: continue with the answer."""
        self._expect(self._clients_turn if self._awaits_body else _UPSTREAM, clock.monotonic_seconds())
        if self._answer.left:
            self._wait_turn()
        elif self._upstream is not None:
            self._upstream.resume_reading()

    # the end

    def _complete(self, *, is_clean: bool) -> None:
        """The answer is delivered; the connections are kept if both sides agree where it ended."""
        body = self._body
        is_request_complete = body is None or body.reader.is_complete
        upstream, self._upstream = self._upstream, None
        self._is_done = True
        response = self._answer.response
        # An unexpected body doesn't matter if the connection is not used again anyway.
        is_clean = is_clean or (self._answer.may_be_followed and not self._client.carries_login)
        is_kept = is_clean and is_request_complete
        if upstream is None or upstream.is_write_paused or response is None or not (is_kept and response.is_keep_alive):
            if upstream is not None:
                upstream.discard()
            self._client.unpin()
        elif self._client.pins:
            self._client.pin(upstream, response.keep_alive_seconds, is_spent=self._answer.may_be_followed)
        elif self._answer.may_be_followed:
            upstream.retire()
        else:
            upstream.release(response.keep_alive_seconds)
        self._log()
        if self._answer.bytes_out > SLICE_BYTES or (body is not None and body.bytes_in > SLICE_BYTES):
            self._client.release_buffers()
        self._client.exchange_done(None if body is None or is_request_complete else body.reader)

    def fail(self, error: RequestError) -> None:
        """End without a complete answer: with an error page if nothing was sent yet, else by aborting."""
        if self._is_done:
            return
        if self._answer.is_complete:  # only the rest of the request failed
            self._client.closes_after_exchange = True
            self._complete(is_clean=False)
            return
        self._is_done = True
        self._let_go()
        self.record.refused(error.reason, error.cause)
        self._client.unpin()
        if self.record.status is not None:  # the head was sent
            self._log()
            self._client.abort_exchange()
        else:
            self.record.bytes_in = self._bytes_in
            self._client.refuse_exchange(error, self.head, self.record)

    def client_gone(self) -> None:
        """The client left: close the upstream's connection at once."""
        if not self._is_done:
            self._is_done = True
            self._let_go()
            self._log()

    def on_deadline(self) -> None:
        """The deadline has passed, of the client or of the upstream: wait longer if it makes progress, else fail."""
        client, upstream, now = self._client, self._upstream, clock.monotonic_seconds()
        seconds = self.pool.upstream.timeouts.response_seconds
        if client.is_write_paused:  # whatever else is missing
            if client.takes_more():
                self._expect(_CLIENT_READS, now)
            else:
                idle = self._limits.transfer_idle_seconds
                self.fail(RequestError(Reason.REQUEST_TIMEOUT, f"the client read nothing for {idle:g} s"))
        elif self._turn is _AWAIT_CONTINUE:
            self._let_continue()
        elif self._turn in _CLIENTS_TURNS and not client.is_read_paused:
            idle = self._limits.transfer_idle_seconds
            self.fail(RequestError(Reason.REQUEST_TIMEOUT, f"no data of the body arrived for {idle:g} s"))
        elif upstream is not None and (next_look := upstream.next_look(now, seconds)) > now:
            self._expect(_UPSTREAM, now, next_look)  # it reads slowly but continuously
        elif client.is_read_paused:
            cause = f"the upstream read nothing of the request's body for {seconds:g} s"
            self.fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, cause))
        else:
            self.fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, f"the upstream did not answer within {seconds:g} s"))

    def _let_go(self) -> None:
        self._forget_kept()
        if self._connect_task is not None:
            self._connect_task.cancel()
            self._connect_task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()

    @property
    def _bytes_in(self) -> int:
        return 0 if self._body is None else self._body.bytes_in

    def _log(self) -> None:
        record = self.record
        record.bytes_in = self._bytes_in
        record.bytes_out = self._answer.bytes_out
        self._client.log(record)
