"""One client's connection over HTTP/1.1: its requests are read one after the other, judged, and forwarded or refused.

Keeps true: a request is forwarded only in exactly the spelling that the rules allowed; answers are sent in the order of
the requests; data that a client sends ahead is buffered only up to a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Peer, Reason
from gateway.http.body import BodyError, BodyReader
from gateway.http.events import Event
from gateway.http.headers import AUTHORIZATION
from gateway.http.http1 import HTTP_1_1, RequestHead
from gateway.http.http1_writer import Http1Writer
from gateway.http.login import login_of
from gateway.logs.record import AccessRecord
from gateway.proxy.client.body_drain import BodyDrain
from gateway.proxy.client.connection import ClientConnection, is_of_one_client
from gateway.proxy.client.half_closed import HalfClosed
from gateway.proxy.client.receive_buffer import ReceiveBuffer
from gateway.proxy.client.request_reader import RequestReader
from gateway.proxy.exchange.admission import Admitted
from gateway.proxy.exchange.exchange import Exchange
from gateway.proxy.exchange.tunnel import Tunnel
from gateway.proxy.exchange.waiting import RateWait, StatusWait
from gateway.proxy.ports import Work
from gateway.proxy.records import begin_record
from gateway.proxy.refusal import closes, note_unanswered, refusal_events
from gateway.proxy.service import Service
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.proxy.upstream.connection import UpstreamConnection
from gateway.tls.layer import AT_ONCE_BYTES, TlsLayer

_EMPTY_LINES: Final = b"\r\n"  # skipped before a request (RFC 9112 2.2)


class Http1Connection(ClientConnection):
    """The HTTP/1.1 side of a client's TLS connection."""

    __slots__ = (
        "_drain",
        "_exchange",
        "_half_closed",
        "_is_reading",
        "_reader",
        "_receive_buffer",
        "_writer",
        "carries_login",
        "closes_after_exchange",
        "pinned",
        "pins",
    )
    protocols = frozenset({b"", b"http/1.1", b"http/1.0"})

    def __init__(  # noqa: PLR0913
        self,
        service: Service,
        snapshot: Snapshot,
        site: SiteState,
        peer: Peer,
        *,
        server_name: str | None,
        public_port: int,
        is_over_limit: bool,
    ) -> None:
        super().__init__(
            service,
            snapshot,
            site,
            peer,
            server_name=server_name,
            public_port=public_port,
            is_over_limit=is_over_limit,
        )
        self.carries_login = False  # a login of the connection was sent on its own upstream connection
        self.closes_after_exchange = False
        self._receive_buffer: ReceiveBuffer
        self._writer: Http1Writer  # of the answer under way
        self._reader = RequestReader()
        self._exchange: Work | None = None
        self.pins = is_of_one_client(site)
        self.pinned: UpstreamConnection | None = None  # this client's own, idle between two requests
        self._is_reading = False
        self._drain: BodyDrain | None = None
        self._half_closed: HalfClosed | None = None  # after the client has closed its side

    def __repr__(self) -> str:
        return f"<Http1Connection {self.peer.address} {self._exchange or 'idle'}>"

    def works(self) -> Sequence[Work]:
        """The work under way."""
        return () if self._exchange is None else (self._exchange,)

    def secured_by(self, layer: TlsLayer, *, is_asked: bool) -> None:
        """Set the TLS layer, before its first byte; `is_asked`: the client is asked for a certificate."""
        super().secured_by(layer, is_asked=is_asked)
        self._receive_buffer = ReceiveBuffer(layer)

    def eof_received(self) -> bool:
        """The client sends no more; True to continue writing to it."""
        if self._half_closed is not None:
            return True  # a FIN after a close_notify
        exchange, has_more = self._exchange, bool(self._receive_buffer.held)
        if exchange is None:
            if not (has_more and self.is_write_paused):
                return False  # no answer is due, or only half a request arrived
        elif not exchange.client_eof():
            return False
        if isinstance(exchange, Tunnel):
            return True  # it has its own limits
        if not has_more:
            self.closes_after_exchange = True
        self._half_closed = HalfClosed(self, self.service.loop)
        return True

    def _all_is_fed(self, half_closed: HalfClosed) -> None:
        """If everything the client sent has been handed on, tell the exchange that no more will come."""
        exchange = self._exchange
        if exchange is None or self._receive_buffer.held or not exchange.takes_body:
            return
        if isinstance(exchange, Tunnel):
            half_closed.cancel()
            exchange.client_eof()
        else:
            self.end_half_closed()  # the rest of the body won't come

    def progress(self) -> tuple[Work | None, int]:
        """A value that changes with every part of an answer and with every new request."""
        exchange = self._exchange
        return exchange, 0 if exchange is None else exchange.bytes_out

    def end_half_closed(self) -> None:
        """Give up a client that closed its side and may be gone, so that it keeps no upstream busy."""
        exchange, self._exchange = self._exchange, None
        is_begun = exchange is not None and exchange.record.status is not None
        if exchange is not None:
            exchange.client_gone()
        if is_begun:
            self._layer.abort()  # the client must notice that the answer is incomplete
        else:
            self._close(is_lingering=False)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed: end everything that belongs to it."""
        exchange, self._exchange = self._exchange, None
        self._receive_buffer.drop()
        if self._half_closed is not None:
            self._half_closed.cancel()
            self._half_closed = None
        if exchange is not None:
            exchange.client_gone()
        self.unpin()
        super().connection_lost(error)

    # reading

    def data_received(self, data: bytes) -> None:
        """Process plaintext from the client."""
        exchange = self._exchange
        if exchange is not None:
            if exchange.takes_body and not self._receive_buffer.held:
                data = exchange.request_data(data)
            if data:
                self._hold_for(exchange, data)
        elif self._drain is not None and not self._receive_buffer.held:
            self._drain_body(self._drain, data)
        elif self._drain is not None:
            self._receive_buffer.hold(data)
        else:
            self._read(data)

    def _hold_for(self, exchange: Work, data: bytes) -> None:
        """Keep what the exchange has not taken: data for the next request, or too much at once."""
        self._receive_buffer.hold(data)
        if exchange.takes_body:
            self._wait_turn()

    def _wait_turn(self) -> None:
        """Continue with the held data after other clients have been served."""
        if not self._receive_buffer.is_waiting:
            self._receive_buffer.wait()
            self.wait_turn(self._go_on)

    def _go_on(self) -> None:
        """Process the next piece of the held data."""
        if self._layer.is_closing():
            return
        receive_buffer = self._receive_buffer
        data = receive_buffer.take()
        receive_buffer.is_waiting = False
        if data:
            self.data_received(data)
        if not receive_buffer.is_waiting:
            receive_buffer.waited()
        if self._half_closed is not None:
            self._all_is_fed(self._half_closed)

    def _read(self, data: bytes) -> None:
        """Read one request from the bytes. Before a further one, other clients are served."""
        self.catch_up()
        if self.is_write_paused:
            self._receive_buffer.hold(data)  # a client that does not read its answers gets no further ones
            return
        is_new = not self._receive_buffer.held
        if not is_new:
            if self._receive_buffer.is_waiting:
                self._receive_buffer.hold(data)
                return
            data = self._receive_buffer.take() + data
        elif (admitted := self._reader.again(data)) is not None:
            self._begin(admitted.head, b"", admitted)
            return
        data = data.lstrip(_EMPTY_LINES)
        if not data or self._layer.is_closing():
            if self._half_closed is not None:
                self._close(is_lingering=False)
            return
        self._is_reading = True
        self._read_request(data, is_new=is_new)
        self._is_reading = False

    def _read_request(self, data: bytes, *, is_new: bool) -> None:
        """`is_new`: no earlier bytes of this request were held."""
        reader = self._reader
        try:
            end = reader.find_end(data, self.snapshot.config.limits)
            if end < 0:
                self._await_rest(data, is_new=is_new)
                return
            if not is_new and end > AT_ONCE_BYTES:  # wait for a turn, as for a long read
                self._read_next(data)
                return
            head, rest = reader.read(data, end, self.snapshot)
        except RequestError as error:
            self._refuse_unread(error, data)
            return
        self._begin(head, rest, None)
        if self._exchange is None and self._receive_buffer.held:
            self._wait_turn()

    def _read_next(self, data: bytes) -> None:
        """Process held data; if it is long, after other clients: many connections may reach this point at once."""
        if len(data) <= AT_ONCE_BYTES:
            self._read(data)
        else:
            self._receive_buffer.hold(data)
            self._wait_turn()

    def _await_rest(self, data: bytes, *, is_new: bool) -> None:
        if self._half_closed is not None:
            self._close(is_lingering=False)  # the rest won't arrive
            return
        if is_new:  # counted from the first byte; further bytes don't extend it
            self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.header_time_seconds
        self._receive_buffer.put_back(data)

    def _begin(self, head: RequestHead, rest: bytes, admitted: Admitted | None) -> None:
        """Judge one request and start its exchange, or refuse it. `admitted`: the result of an equal request."""
        if rest:
            self._receive_buffer.hold(rest)
        record = begin_record(self.admission.fields, head)
        requests = self._requests or self._requests_of_named(head, record)
        if requests is None or (seconds := requests.delay_seconds(record.duration_ms or 0.0)) <= 0:
            self._judge(head, record, admitted)
        else:
            self._exchange = wait = RateWait(self, head, record)
            wait.start(self.service.loop, requests, seconds)

    def _judge(self, head: RequestHead, record: AccessRecord, admitted: Admitted | None) -> None:
        admission = self.admission
        try:
            found = self._admit(head, record, admitted)
        except RequestError as error:
            self._reader.refused()
            self.refuse_exchange(error, head, record)
            return
        if found is None:
            if (question := admission.question) is not None:
                self._exchange = wait = StatusWait(self, head, record)
                wait.start(question)
            return
        if found is not admitted and record.observed is None:  # an observed one is counted and logged each time
            self._reader.passed(found)
        if found.pins:
            self.pins = True
        if self.pins:
            admission.carry(found.login)
        self._refusals_in_a_row = 0
        self._writer = Http1Writer(head.version)
        pool = self.service.pools.of(admission.site.upstream)
        self._exchange = exchange = Exchange(self, pool, found, record, admission.site.hsts)
        exchange.start()

    def waited(self, work: Work) -> None:
        """Judge a request again after its wait has ended."""
        self._exchange = None
        self._judge(work.head, work.record, None)

    # what an exchange asks of its client

    def feed_exchange(self) -> None:
        """The exchange can take the body now: hand over the part that has arrived."""
        exchange = self._exchange
        data = self._receive_buffer.take()
        if exchange is not None and data:
            rest = exchange.request_data(data) if exchange.takes_body else data
            if rest:
                self._hold_for(exchange, rest)
        if self._half_closed is not None:
            self._all_is_fed(self._half_closed)

    def hold(self, data: bytes) -> None:
        """Keep data after a request's body until the exchange has ended."""
        self._receive_buffer.hold(data)

    def may_keep_alive(self, head: RequestHead) -> bool:
        """True if another request may follow on this connection."""
        if self._half_closed is not None and not self._receive_buffer.held:
            return False
        return head.is_keep_alive and not self.service.connections.is_draining

    def send(self, events: list[Event]) -> None:
        """Send a part of the exchange's answer."""
        writer = self._writer
        data = writer.write(events)
        if writer.closes:
            self.closes_after_exchange = True
        if data:
            self.write(data)

    def exchange_done(self, unread_body: BodyReader | None) -> None:
        """The answer was sent completely. `unread_body`: reader of the rest of the request's body."""
        self._forget_exchange()
        if self.closes_after_exchange or self.service.connections.is_draining:
            self._close(is_lingering=unread_body is not None or bool(self._receive_buffer.held))
            return
        self._expect_next()
        data = self._receive_buffer.take()
        if unread_body is not None:
            self._drain = drain = BodyDrain(unread_body)
            self._drain_body(drain, data)
        elif self._has_lost_its_own():
            self._close(is_lingering=bool(data))
        elif data:
            self._read_next(data)

    def _has_lost_its_own(self) -> bool:
        """True if this client's own upstream connection has ended, so that this connection must end too."""
        return self.pins and self.pinned is None

    def _forget_exchange(self) -> None:
        self._exchange = None
        if self._receive_buffer.is_stopped:
            self._receive_buffer.go_on()

    def _drain_body(self, drain: BodyDrain, data: bytes) -> None:
        try:
            rest = drain.feed(data)
        except BodyError:
            self._close(is_lingering=True)
            return
        if not drain.is_complete:
            if rest:
                self._receive_buffer.hold(rest)
                self._wait_turn()
        else:
            self._drain = None
            if self._has_lost_its_own():
                self._close(is_lingering=bool(rest))
            elif rest:
                self._read(rest)

    def owns_upstream(self, head: RequestHead | None, *, is_hidden: bool = False) -> None:
        """From now on only this client uses the upstream connection. `head`: of the request under way on it.

        `is_hidden`: a login of an unknown user that belongs to the connection takes place there.
        """
        self.pins = True
        if is_hidden:
            self.carries_login = True
            self.admission.carry_hidden()
        elif head is not None:
            self.admission.carry(login_of("", None, head.values[AUTHORIZATION]))
        self._reader.forget()  # a remembered decision may depend on the earlier logins

    def pin(self, upstream: UpstreamConnection, keep_alive_seconds: int | None, *, is_spent: bool) -> None:
        """Keep the upstream connection for this client only, until either side closes."""
        self.pinned = upstream
        upstream.pin(self, keep_alive_seconds, is_spent=is_spent)

    def unpin(self) -> None:
        """Close the client's own upstream connection; its login ends."""
        upstream, self.pinned = self.pinned, None
        if upstream is not None and upstream.exchange is None:
            upstream.discard()

    def pinned_lost(self) -> None:
        """The upstream closed this client's own connection: if a login was lost, close the client's connection too."""
        self.pinned = None
        if self._exchange is None and self.carries_login:
            self._close(is_lingering=False)

    def tunnel(self, work: Work) -> None:
        """Carry a tunnel instead of HTTP from now on."""
        self._exchange = work
        self.feed_exchange()

    def write_eof(self) -> None:
        """The tunnel's upstream sends no more: close this direction."""
        self._layer.write_eof()

    def close_after_tunnel(self) -> None:
        """Close the connection after the end of its tunnel."""
        self._forget_exchange()
        self._close(is_lingering=False)

    def abort_exchange(self) -> None:
        """The answer can't be completed: abort, so that the client notices."""
        self._exchange = None
        self._layer.abort()

    def refuse_exchange(self, error: RequestError, head: RequestHead, record: AccessRecord) -> None:
        """Answer the request with a refusal, and log it."""
        self._forget_exchange()
        is_closing = self._is_one_too_many(error.reason) or closes(error.reason, head) or not self.may_keep_alive(head)
        if self.pins and record.upstream is not None:
            is_closing = True  # the client's own upstream connection was lost too
        self._refuse(error, head, record, is_closing=is_closing)
        if not is_closing:
            self._expect_next()
            if not self._is_reading and (data := self._receive_buffer.take()):
                self._read_next(data)

    def close_unanswered(self, error: RequestError, record: AccessRecord) -> None:
        """Log a request that was lost with the client's own upstream connection, and close without an answer."""
        self._forget_exchange()
        self.unpin()
        note_unanswered(error, record)
        self.log(record)
        self._close(is_lingering=False)

    def _expect_next(self) -> None:
        """Set the deadline for the next request, or first for the client to read its answer."""
        limits = self.snapshot.config.limits
        seconds = limits.transfer_idle_seconds if self.is_write_paused else limits.keepalive_seconds
        self.deadline = clock.monotonic_seconds() + seconds

    def _refuse_unread(self, error: RequestError, data: bytes) -> None:
        """Refuse data that is not a valid request, and close: the next request can't be found in it."""
        record = begin_record(self.admission.fields, None)
        record.bytes_in = len(data)
        self._refuse(error, None, record, is_closing=True)

    def _refuse(self, error: RequestError, head: RequestHead | None, record: AccessRecord, *, is_closing: bool) -> None:
        events = refusal_events(
            self.snapshot.pages,
            error,
            head,
            self.admission.judgement,
            record,
            is_closing=is_closing,
            hsts=self.admission.site.hsts,
        )
        self._layer.write(Http1Writer(HTTP_1_1 if head is None else head.version).write(events))
        self.note_refusal(error.reason, record)
        if is_closing:
            self._close(is_lingering=True)

    # backpressure, deadlines, the end

    @property
    def is_read_paused(self) -> bool:
        """True while reading is paused because the upstream is slow."""
        return self._receive_buffer.is_stopped

    def pause_reading(self) -> None:
        """Pause reading: the upstream reads slowly."""
        self._receive_buffer.stop()

    def resume_reading(self) -> None:
        """Continue reading: the upstream has caught up, or is gone."""
        self._receive_buffer.go_on()

    def pause_writing(self) -> None:
        """The client reads slowly: pause the answer."""
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume_writing(self) -> None:
        """The client has caught up: continue the answer, or read the next request."""
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.resume_response()
        elif self._drain is None and self._layer.is_established and not self._layer.is_closing():
            self._expect_next()
            if not self._receive_buffer.is_waiting and (data := self._receive_buffer.take()):
                self._read_next(data)

    def on_deadline(self) -> None:
        """The deadline has passed: end the exchange, the handshake or the connection."""
        if self._exchange is not None:
            self._exchange.on_deadline()
        elif self._receive_buffer.held and not self._layer.is_closing() and not self.is_write_paused:
            seconds = self.snapshot.config.limits.header_time_seconds
            self._refuse_unread(
                RequestError(Reason.REQUEST_TIMEOUT, f"the request was not complete within {seconds:g} s"),
                self._receive_buffer.held,
            )
        elif self._drain is not None and not self._layer.is_closing() and not self.is_write_paused:
            self._close(is_lingering=True)
        else:
            super().on_deadline()

    def adopt(self, snapshot: Snapshot) -> None:
        """Use another snapshot: a request under way is judged at once, later ones when they arrive."""
        self._reader.forget()
        super().adopt(snapshot)

    def _follow(self, site: SiteState) -> None:
        if not self.pins and is_of_one_client(site):
            self.owns_upstream(None if self._exchange is None else self._exchange.head)

    def _close(self, *, is_lingering: bool) -> None:
        """Close; with `is_lingering`, a client that may still be sending gets time to read the answer."""
        if self._layer.is_closing():
            return
        self._receive_buffer.drop()
        self._drain = None
        super()._close(is_lingering=is_lingering and self._half_closed is None)
