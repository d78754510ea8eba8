"""One request to one upstream connection, and its answer back.

Keeps true: what the upstream reads was written here from parsed values; neither body is ever held whole,
and a side that reads slowly stops the other (backpressure); an answer that was cut short is cut short for
the client too, never ended as if it were complete; connections that belong together for a login outlast an answer
that came before the request's end; the access record is written exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway import clock
from gateway.errors import RequestError, UpstreamError
from gateway.facts import Reason
from gateway.logs.record import AccessRecord
from gateway.proxy.answer import Answer, unexpected
from gateway.proxy.login_binding import is_failed_login
from gateway.proxy.request_body import RequestBody
from gateway.proxy.retry import STALE_SECONDS, KeptBody, may_keep, may_repeat
from gateway.proxy.upgrade import Tunnel
from gateway.tls.layer import SLICE_BYTES

if TYPE_CHECKING:
    from gateway.http.http1 import ResponseHead
    from gateway.proxy.admission import Admitted
    from gateway.proxy.connection import ClientConnection
    from gateway.proxy.pool import Pool
    from gateway.proxy.upstream import UpstreamConnection

_UNAUTHORIZED: Final = 401
# A client that waits for a 100 hears it from us when the upstream has said nothing for so long: it may be an HTTP/1.0
# server, which never will (RFC 9110 10.1.1). Most clients wait no longer themselves.
CONTINUE_SECONDS: Final = 1.0


class Exchange:
    """A request that may pass, until its answer is delivered or failed."""

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
        "_upstream",
        "head",
        "pool",
        "record",
    )

    def __init__(self, client: ClientConnection, pool: Pool, admitted: Admitted, record: AccessRecord) -> None:
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
        self._answer = Answer(head, admitted.rewriter, request_id, client.admission.site.hsts)
        self._sent_at = 0.0
        self._kept: KeptBody | None = None  # of the body, to be sent once more
        self._is_done = False

    def __repr__(self) -> str:
        return f"<Exchange {self.record.method} {self.record.uri!r} via {self._upstream!r}>"

    # the request

    def start(self) -> None:
        """Send the request on an idle connection, or make one."""
        client = self._client
        pinned = client.pinned
        if pinned is not None and not self._can_use(pinned):
            pinned = None
            client.unpin()
        if pinned is None and client.carries_login:
            self._close_unanswered("the upstream connection on which the client had logged in can't be used any more")
            return
        try:
            # A login begins on a connection that nobody had: one from the pool may be about to close, and is no place
            # to try again from.
            connection = pinned or (None if client.pins else self.pool.take(self._address))
        except UpstreamError as error:
            self.fail(error)
            return
        if connection is None:
            self._connect()
        else:
            self.attach(connection)

    def _can_use(self, pinned: UpstreamConnection) -> bool:
        """False where a reload or the server's name leads elsewhere, or the connection is about to be lost.

        A body may still come behind its last answer: the client meets that only where it would lose a login.
        """
        if pinned.pool is not self.pool or not pinned.is_usable():
            return False
        return self._client.carries_login or not pinned.is_spent

    def _connect(self) -> None:
        client = self._client
        client.deadline = float("inf")  # connecting has its own limit
        header = client.proxy_header() if self.pool.upstream.proxy_protocol else b""
        self._connect_task = self.pool.connect(self, self._address, header)

    def attach(self, connection: UpstreamConnection) -> None:
        """The connection is this exchange's until it ends."""
        self._connect_task = None
        self._upstream = connection
        connection.exchange = self
        self.record.upstream = connection.state.url
        self._sent_at = now = clock.monotonic_seconds()
        if self._logs_in:
            self._client.carries_login = True
        if self._body is None:
            connection.transport.write(self._request)
            self._client.deadline = now + self.pool.upstream.timeouts.response_seconds
        else:
            self._attach_body(connection, self._body, now)

    def _attach_body(self, connection: UpstreamConnection, body: RequestBody, now: float) -> None:
        client, kept = self._client, self._kept
        if kept is None:
            connection.transport.write(self._request)
            if connection.exchanges and not client.carries_login and may_keep(self.head):
                self._kept = KeptBody(client.service.kept_bodies)
        else:  # once more, and no more than that
            self._kept = None
            connection.transport.write(self._request + kept.release())
        body.begin(now)
        if body.reader.is_complete:
            client.deadline = now + self.pool.upstream.timeouts.response_seconds
            return
        client.deadline = now + self._body_idle_seconds()
        client.feed_exchange()
        if self._answer.awaits_continue and not self._is_done:
            if connection.state.is_http_1_0:
                self._let_continue()
            else:
                client.deadline = now + CONTINUE_SECONDS

    def _let_continue(self) -> None:
        """Ask for the body that the client holds back."""
        self._client.write(self._answer.let_continue())
        self._client.deadline = clock.monotonic_seconds() + self._body_idle_seconds()

    @property
    def takes_body(self) -> bool:
        """True when bytes from the client belong to the request's body and can be sent on."""
        body = self._body
        return body is not None and not body.reader.is_complete and self._upstream is not None

    def request_data(self, data: bytes) -> bytes:
        """Bytes from the client; returns those that stand behind the body."""
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
            client.deadline = now + self._body_idle_seconds()
        elif not client.is_write_paused:  # both ways at once
            client.deadline = now + self.pool.upstream.timeouts.response_seconds
        return rest

    def _await_upstream(self, upstream: UpstreamConnection, body: RequestBody, now: float) -> None:
        """It is the upstream's turn: to take what was written, or to answer."""
        seconds = self.pool.upstream.timeouts.response_seconds
        deadline = now + seconds if body.bytes_in <= SLICE_BYTES else upstream.watch_uptake(now, seconds)
        if not self._client.is_write_paused:
            self._client.deadline = deadline

    @property
    def _awaits_body(self) -> bool:
        """True when the client is to speak, and nobody else."""
        if not self.takes_body or self._client.is_read_paused:
            return False
        return self._answer.response is None or self._answer.is_complete

    def _is_over(self, upstream: UpstreamConnection) -> bool:
        """True when both sides have had all there is."""
        return self._answer.is_complete and not self.takes_body and not upstream.is_write_paused

    def _body_idle_seconds(self) -> float:
        is_trickling = self._body is not None and self._body.is_trickling
        return self.pool.upstream.timeouts.response_seconds if is_trickling else self._limits.transfer_idle_seconds

    def pause_request(self) -> None:
        """The upstream reads slowly: stop the client, whose time does not run meanwhile."""
        self._client.pause_reading()
        if self._upstream is not None and self._body is not None:
            self._await_upstream(self._upstream, self._body, clock.monotonic_seconds())

    def resume_request(self) -> None:
        """The upstream has caught up; what it took was not the client's time."""
        client, body, upstream = self._client, self._body, self._upstream
        client.resume_reading()
        if upstream is None or body is None:
            return
        now = clock.monotonic_seconds()
        body.begin(now)
        if self._awaits_body:
            client.deadline = now + self._body_idle_seconds()
        elif self._is_over(upstream):
            self._complete(is_clean=True)
        else:
            self._await_upstream(upstream, body, now)

    # the answer

    def upstream_data(self, data: bytes) -> None:
        """Bytes from the upstream."""
        if self._answer.is_complete:
            self._complete(is_clean=False)  # behind its answer there is nothing to say
            return
        answer, client = self._answer, self._client
        if answer.left:
            answer.left += data
            return
        is_first, was_awaiting = answer.response is None, answer.awaits_continue
        try:
            out = answer.feed(data, may_keep_alive=client.may_keep_alive(self.head), is_pinned=client.pins)
        except RequestError as error:
            self.fail(unexpected(error))
            return
        response = answer.response
        if is_first:
            self._answer_has_begun(response)
        if out:
            client.write(out)
        if answer.is_complete:
            if answer.is_clean and self._owes_a_login_the_rest():
                client.deadline = clock.monotonic_seconds() + self._body_idle_seconds()
            else:
                self._complete(is_clean=answer.is_clean)
        elif answer.is_upgraded:
            self._upgrade()
        else:
            self._expect_more(was_awaiting=was_awaiting)

    def _expect_more(self, *, was_awaiting: bool) -> None:
        """The answer goes on. `was_awaiting`: the client, for a 100."""
        answer, client = self._answer, self._client
        if (answer.response is not None or not self.takes_body) and not client.is_write_paused:
            client.deadline = clock.monotonic_seconds() + self.pool.upstream.timeouts.response_seconds
        elif was_awaiting and not answer.awaits_continue:
            client.deadline = clock.monotonic_seconds() + self._body_idle_seconds()
        if answer.left:
            self._wait_turn()

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when other clients have been served."""
        self._client.wait_turn(go_on)

    def _wait_turn(self) -> None:
        """Go on with what the upstream has sent when other clients have been served; until then it is not read."""
        if self._upstream is not None and not self._client.is_write_paused:  # else `resume_response` does
            self._upstream.pause_reading()
            self._client.wait_turn(self._go_on)

    def _go_on(self) -> None:
        """The next piece of the answer."""
        if self._is_done or self._client.is_write_paused or not self._answer.left:
            return
        self._feed_left()
        if self._upstream is not None and not self._answer.left and not self._client.is_write_paused:
            self._upstream.resume_reading()

    def _finish_left(self) -> None:
        """All that the upstream has sent, since its connection ends."""
        while self._answer.left and not self._is_done:
            self._feed_left()

    def _feed_left(self) -> None:
        answer = self._answer
        data, answer.left = answer.left, b""
        self.upstream_data(data)

    def _owes_a_login_the_rest(self) -> bool:
        """True where the answer came early, and the connections belong together for a login.

        To leave out the rest of the body would end the upstream's connection, and the login with it.
        """
        client, response, upstream = self._client, self._answer.response, self._upstream
        if not client.pins or client.closes_after_exchange or response is None or not response.is_keep_alive:
            return False
        return upstream is not None and not self._is_over(upstream)

    def _answer_has_begun(self, response: ResponseHead | None) -> None:
        """Note what its head says, of the answer and of who gave it; None: the head is still to come."""
        if self._kept is not None:
            self._forget_kept()
        if response is None:
            return
        answer, client, record = self._answer, self._client, self.record
        record.status = record.upstream_status = response.status
        record.upstream_ms = (clock.monotonic_seconds() - self._sent_at) * 1000
        if self._upstream is not None:
            self._upstream.state.is_http_1_0 = not response.minor
        if answer.closes_client:
            client.closes_after_exchange = True
        if answer.binds:
            client.owns_upstream(self.head, is_hidden=answer.goes_on_with_login)
        if response.status == _UNAUTHORIZED and is_failed_login(self.head, response.challenge):
            client.note_failed_login(record.connection.client_ip)

    def _upgrade(self) -> None:
        """The upstream switched protocols as the client asked: both talk to each other from here."""
        upstream, self._upstream = self._upstream, None
        self._is_done = True
        if upstream is not None:
            tunnel = Tunnel(self._client, upstream, self.head, self.record)
            tunnel.bytes_out = self._answer.bytes_out  # what came with the head
            self._client.tunnel(tunnel)

    def upstream_eof(self) -> bool:
        """The upstream will send no more: for some answers that is how they end. False: its socket can go."""
        self._finish_left()
        if self._is_done:
            return False
        out = self._answer.end()
        if out is not None:
            self._client.write(out)
            self._complete(is_clean=False)
        return False

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone before the exchange ended.

        That ends no answer well, not even one that is to end with its connection: an upstream that has said all says
        so, with a FIN, and over TLS with close_notify before it (RFC 9112 9.8). `upstream_eof` came first then.
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
                if self._client.is_read_paused:  # the upstream that was slower is gone
                    self._client.resume_reading()
                self._connect()
                return
            if upstream.is_pinned_to(self._client):
                self._close_unanswered(cause)
                return
        reason = Reason.UPSTREAM_BAD_RESPONSE if self._answer.has_begun else Reason.UPSTREAM_UNREACHABLE
        self.fail(UpstreamError(reason, cause))

    def _had_died_idle(self, upstream: UpstreamConnection) -> bool:
        """True where the server had closed the connection before the request reached it, as far as one can tell."""
        is_old = upstream.exchanges > 0 and not self._answer.has_begun
        return is_old and clock.monotonic_seconds() - self._sent_at <= STALE_SECONDS

    def _may_retry(self) -> bool:
        """True where the request does no harm when it is sent once more, and all of it is still there."""
        if self._client.carries_login or (self._body is not None and self._kept is None):
            return False
        return may_repeat(self.head)

    def _close_unanswered(self, cause: str) -> None:
        """Leave it to the client to ask again, as clients do where a kept connection closes without an answer."""
        self._is_done = True
        self._forget_kept()
        self.record.bytes_in = self._bytes_in
        self._client.close_unanswered(UpstreamError(Reason.UPSTREAM_UNREACHABLE, cause), self.record)

    def _forget_kept(self) -> None:
        """Nothing is sent once more from here on."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.release()

    def client_eof(self) -> bool:
        """The client has said all. True: its request is whole, as far as is known, and it may wait for the answer."""
        body = self._body
        return body is None or body.reader.is_complete or self._upstream is None  # then the rest may be held

    @property
    def bytes_out(self) -> int:
        """What the client was answered so far, about: it grows with every part of the answer."""
        return self._answer.bytes_out + self._answer.has_begun

    def pause_response(self) -> None:
        """The client reads slowly: stop the upstream."""
        self._client.deadline = clock.monotonic_seconds() + self._limits.transfer_idle_seconds
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_response(self) -> None:
        """The client has caught up."""
        is_clients_turn = self._awaits_body
        seconds = self._body_idle_seconds() if is_clients_turn else self.pool.upstream.timeouts.response_seconds
        self._client.deadline = clock.monotonic_seconds() + seconds
        if self._answer.left:
            self._wait_turn()
        elif self._upstream is not None:
            self._upstream.resume_reading()

    # the end

    def _complete(self, *, is_clean: bool) -> None:
        """The answer is delivered; the connections go on where both sides agree on where it ended."""
        body = self._body
        is_request_complete = body is None or body.reader.is_complete
        upstream, self._upstream = self._upstream, None
        self._is_done = True
        response = self._answer.response
        # A body behind an answer that has none is nothing new where the connection is not used again anyway.
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
        """End without a whole answer: with an error page where nothing was sent yet, else by cutting it short."""
        if self._is_done:
            return
        if self._answer.is_complete:  # it is only the rest of the request that failed
            self._client.closes_after_exchange = True
            self._complete(is_clean=False)
            return
        self._is_done = True
        self._let_go()
        self.record.refused(error.reason, error.cause)
        self._client.unpin()
        if self.record.status is not None:  # the client has the head
            self._log()
            self._client.abort_exchange()
        else:
            self.record.bytes_in = self._bytes_in
            self._client.refuse_exchange(error, self.head, self.record)

    def client_gone(self) -> None:
        """Nobody waits for the answer any more: the upstream's connection is freed at once."""
        if not self._is_done:
            self._is_done = True
            self._let_go()
            self._log()

    def on_deadline(self) -> None:
        """The client's or the upstream's time is up, whoever was to speak."""
        client, upstream, now = self._client, self._upstream, clock.monotonic_seconds()
        idle, seconds = self._limits.transfer_idle_seconds, self.pool.upstream.timeouts.response_seconds
        if client.is_write_paused:
            if client.takes_more():
                client.deadline = now + idle
            else:
                self.fail(RequestError(Reason.REQUEST_TIMEOUT, f"the client read nothing for {idle:g} s"))
        elif self._answer.awaits_continue:
            self._let_continue()
        elif self._awaits_body:
            self.fail(RequestError(Reason.REQUEST_TIMEOUT, f"no data of the body arrived for {idle:g} s"))
        elif upstream is not None and (next_look := upstream.next_look(now, seconds)) > now:
            client.deadline = next_look  # it reads slowly, and without a break
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
