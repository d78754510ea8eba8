"""One client's connection: requests are read from it one after the other, judged, and carried or refused.

Keeps true: nothing reaches an upstream that the rules did not let through on this very spelling; answers
leave in the order the requests came; what a client sends ahead is held up to a bound and no further.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Endpoint, Peer, Reason, counted
from gateway.http.body import BodyError, BodyReader
from gateway.http.headers import AUTHORIZATION
from gateway.http.http1 import RequestHead
from gateway.http.login import login_of
from gateway.logs.record import AccessRecord
from gateway.proxy.admission import Admission, Admitted
from gateway.proxy.body_drain import BodyDrain
from gateway.proxy.exchange import Exchange
from gateway.proxy.half_closed import HalfClosed
from gateway.proxy.inlet import Inlet
from gateway.proxy.lingering import Lingering
from gateway.proxy.lockout import CERTIFICATE_FAILURES, LockedOut
from gateway.proxy.rate import Requests
from gateway.proxy.records import begin_record, finish_record, secured_fields, unproven_fields
from gateway.proxy.refusal import MAX_REFUSALS_IN_A_ROW, closes, counts, note_unanswered, write_refusal
from gateway.proxy.request_reader import RequestReader
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.proxy.upgrade import Tunnel
from gateway.proxy.upstream import UpstreamConnection
from gateway.proxy.uptake import Uptake
from gateway.proxy.waiting import RateWait, StatusWait, Wait
from gateway.tls.layer import AT_ONCE_BYTES, TlsLayer
from gateway.tls.peer import peer_certificates
from gateway.tls.proxy_protocol import encode_v2

if TYPE_CHECKING:
    from gateway.proxy.service import Service

_EMPTY_LINES: Final = b"\r\n"  # before a request they are skipped (RFC 9112 2.2)


class ClientConnection:
    """The HTTP/1.1 side of a client's TLS connection."""

    __slots__ = (
        "_drain",
        "_exchange",
        "_half_closed",
        "_inlet",
        "_is_asked",
        "_is_over_limit",
        "_is_reading",
        "_layer",
        "_lingering",
        "_reader",
        "_refusals_in_a_row",
        "_requests",
        "_server_name",
        "_uptake",
        "admission",
        "carries_login",
        "closes_after_exchange",
        "deadline",
        "is_write_paused",
        "peer",
        "pinned",
        "pins",
        "service",
        "snapshot",
        "trusted_until",
    )

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
        self.service = service
        self.snapshot = snapshot
        self.peer = peer
        self.admission = Admission(snapshot, site, peer, public_port, service.statuses)
        self.deadline = clock.monotonic_seconds() + snapshot.config.limits.handshake_seconds
        self.carries_login = False  # credentials that belong to a connection went over its own one upstream
        self.trusted_until = float("inf")  # Unix seconds; see `Admission.trusted_until`
        self.closes_after_exchange = False
        self._layer: TlsLayer
        self._inlet: Inlet
        self._uptake: Uptake
        self._reader = RequestReader()
        self._server_name = server_name
        self._is_asked = False
        self._is_over_limit = is_over_limit
        self._exchange: Exchange | Tunnel | Wait | None = None
        self.pins = _is_of_one_client(site)
        self.pinned: UpstreamConnection | None = None  # this client's own, idle between two requests
        self.is_write_paused = False
        self._is_reading = False
        self._refusals_in_a_row = 0
        self._requests: Requests | None = None
        self._drain: BodyDrain | None = None
        self._lingering: Lingering | None = None
        self._half_closed: HalfClosed | None = None  # once the client has said all

    def __repr__(self) -> str:
        return f"<ClientConnection {self.peer.address} {self._exchange or 'idle'}>"

    # TLS

    def secured_by(self, layer: TlsLayer, *, is_asked: bool) -> None:
        """The layer below, before its first byte; `is_asked`: for a certificate."""
        self._layer = layer
        self._inlet = Inlet(layer)
        self._uptake = Uptake(layer)
        self._is_asked = is_asked
        self.admission.implied_host = self._implied_host(layer)

    def _implied_host(self, layer: TlsLayer) -> bytes:
        """What an HTTP/1.0 request without Host asks for: the handshake's server name, or the address it came to."""
        if self._server_name is not None:
            return self._server_name.encode("ascii")
        address = (self.peer.reached or layer.local).address
        return (str(address) if isinstance(address, IPv4Address) else f"[{address}]").encode("ascii")

    def handshake_done(self) -> None:
        """TLS is finished: look at the certificate once, for all requests of this connection."""
        layer, admission, peer = self._layer, self.admission, self.peer
        if admission.leaf_der is None:  # else it was asked already whether it may leave a session behind
            admission.leaf_der, admission.chain_der = peer_certificates(layer.connection)
        leaf = admission.leaf_der
        self._judge_certificate()
        if leaf is not None:
            self.service.certified.add(self)
        # TLS 1.3 withholds the ticket itself; a TLS 1.2 session is forgotten when it ends.
        layer.leaves_no_session = self._is_asked and not admission.is_alone()
        admission.fields = secured_fields(peer, admission.site.site, layer, admission.judgement.identity, leaf)
        self._requests = self._own_requests()
        self.service.counters.handshake_done(is_resumed=layer.is_resumed)
        self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.header_time_seconds

    def handshake_failed(self, cause: str) -> None:
        """No request will come; the attempt is on record, with the certificate whose key was not proven."""
        fields = unproven_fields(self.admission.fields, peer_certificates(self._layer.connection)[0])
        record = AccessRecord(fields, clock.unix_seconds(), None)
        record.refused(f"handshake_failed: {cause}", cause)
        self.service.log(record)
        # The client may still be sending; it reads the alert, and closes.
        self._lingering = Lingering(clock.monotonic_seconds(), is_brief=True)
        self.deadline = self._lingering.deadline

    def eof_received(self) -> bool:
        """The client has said all. True: it is still written to."""
        if self._half_closed is not None:
            return True  # a FIN behind a close_notify
        exchange, has_more = self._exchange, bool(self._inlet.held)
        if exchange is None:
            if not (has_more and self.is_write_paused):
                return False  # nothing is owed, or only half a request is there
        elif not exchange.client_eof():
            return False
        if isinstance(exchange, Tunnel):
            return True  # it has its own limits
        if not has_more:
            self.closes_after_exchange = True
        self._half_closed = HalfClosed(self, self.service.loop)
        return True

    def _all_is_fed(self, half_closed: HalfClosed) -> None:
        """What the client said before its end has been handed on, unless some of it is still held."""
        exchange = self._exchange
        if exchange is None or self._inlet.held or not exchange.takes_body:
            return
        if isinstance(exchange, Tunnel):
            half_closed.cancel()
            exchange.client_eof()
        else:
            self.end_half_closed()  # the rest of the body won't come

    def progress(self) -> tuple[Exchange | Tunnel | Wait | None, int]:
        """Another value whenever something was answered, or another request is under way."""
        exchange = self._exchange
        return exchange, 0 if exchange is None else exchange.bytes_out

    def end_half_closed(self) -> None:
        """The client may have gone when it said all: nothing is kept busy for it any longer."""
        exchange, self._exchange = self._exchange, None
        is_begun = exchange is not None and exchange.record.status is not None
        if exchange is not None:
            exchange.client_gone()
        if is_begun:
            self._layer.abort()  # the client must see that the answer is not whole
        else:
            self._close(is_lingering=False)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The client is gone."""
        exchange, self._exchange = self._exchange, None
        self._inlet.drop()
        if self._half_closed is not None:
            self._half_closed.cancel()
            self._half_closed = None
        if exchange is not None:
            exchange.client_gone()
        self.unpin()
        self.service.closed(self, self.peer.address)

    # reading

    def data_received(self, data: bytes) -> None:
        """Plaintext from the client."""
        exchange = self._exchange
        if exchange is not None:
            if exchange.takes_body and not self._inlet.held:
                data = exchange.request_data(data)
            if data:
                self._hold_for(exchange, data)
        elif self._drain is not None and not self._inlet.held:
            self._drain_body(self._drain, data)
        elif self._drain is not None:
            self._inlet.hold(data)
        else:
            self._read(data)

    def _hold_for(self, exchange: Exchange | Tunnel | Wait, data: bytes) -> None:
        """Keep what the exchange has not taken: it is not for it, or too much at once."""
        self._inlet.hold(data)
        if exchange.takes_body:
            self._wait_turn()

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when the other clients have been served."""
        self.service.turns.wait(counted(self.peer.address), go_on)

    def _wait_turn(self) -> None:
        """Go on with what is held when the other clients have been served."""
        if not self._inlet.is_waiting:
            self._inlet.wait()
            self.wait_turn(self._go_on)

    def _go_on(self) -> None:
        """The next piece of what is held."""
        if self._layer.is_closing():
            return
        inlet = self._inlet
        data = inlet.take()
        inlet.is_waiting = False
        if data:
            self.data_received(data)
        if not inlet.is_waiting:
            inlet.waited()
        if self._half_closed is not None:
            self._all_is_fed(self._half_closed)

    def discarded(self, count: int) -> None:
        """Ciphertext that came after the connection's end, and was thrown away."""
        lingering = self._lingering
        if lingering is None:
            return
        if lingering.discards(count, clock.monotonic_seconds()):
            self.deadline = max(self.deadline, lingering.deadline)  # a client that reads slowly may have more
        else:
            self._layer.abort()

    def _read(self, data: bytes) -> None:
        """Take one request out of the bytes. Where more of them are there, the other clients are served before."""
        self.catch_up()
        if self.is_write_paused:
            self._inlet.hold(data)  # a client that does not read its answers gets no more of them
            return
        is_new = not self._inlet.held
        if not is_new:
            if self._inlet.is_waiting:
                self._inlet.hold(data)
                return
            data = self._inlet.take() + data
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
        """`is_new`: nothing of the request was here before."""
        reader = self._reader
        try:
            end = reader.find_end(data, self.snapshot.config.limits)
            if end < 0:
                self._await_rest(data, is_new=is_new)
                return
            if not is_new and end > AT_ONCE_BYTES:  # as for a long read: the last piece of the head may be short
                self._read_next(data)
                return
            head, rest = reader.read(data, end, self.snapshot)
        except RequestError as error:
            self._refuse_unread(error, data)
            return
        self._begin(head, rest, None)
        if self._exchange is None and self._inlet.held:
            self._wait_turn()

    def _read_next(self, data: bytes) -> None:
        """What was held. Where it is long, other clients are served before: many connections may come to it at once."""
        if len(data) <= AT_ONCE_BYTES:
            self._read(data)
        else:
            self._inlet.hold(data)
            self._wait_turn()

    def _await_rest(self, data: bytes, *, is_new: bool) -> None:
        if self._half_closed is not None:
            self._close(is_lingering=False)  # the rest won't come
            return
        if is_new:  # from its first byte on, so that a byte now and then does not prolong it
            self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.header_time_seconds
        self._inlet.put_back(data)

    def _begin(self, head: RequestHead, rest: bytes, admitted: Admitted | None) -> None:
        """Judge one request and start its exchange, or refuse it. `admitted`: the same request's, remembered."""
        if rest:
            self._inlet.hold(rest)
        record = begin_record(self.admission.fields, head)
        requests = self._requests or self._requests_of_named(head, record)
        if requests is None or (seconds := requests.delay_seconds(record.duration_ms or 0.0)) <= 0:
            self._judge(head, record, admitted)
        else:
            self._exchange = wait = RateWait(self, head, record)
            wait.start(self.service.loop, requests, seconds)

    def _own_requests(self) -> Requests | None:
        """What counts this client's requests; None for a trusted proxy, whose clients are counted each by itself."""
        return None if self.admission.is_proxy else self.service.requests.of(self.peer.address)

    def _requests_of_named(self, head: RequestHead, record: AccessRecord) -> Requests | None:
        """What counts the requests of the client that a trusted proxy names; None where it names none."""
        try:
            client = self.admission.name_client(head, record)
        except RequestError:
            return None  # it is refused for that in a moment
        if client is None or client.address == self.peer.address:
            return None
        return self.service.requests.of(client.address)

    def _judge(self, head: RequestHead, record: AccessRecord, admitted: Admitted | None) -> None:
        admission = self.admission
        try:
            if self._is_over_limit:
                raise RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections")  # noqa: TRY301
            if admission.is_due(record.now) and self._judge_certificate():
                admitted = None
            if self.service.bans:
                self._check_ban(head, record)
            if admission.question is not None:
                self._exchange = wait = StatusWait(self, head, record)
                wait.start(admission.question)
                return
            if admitted is None:
                admitted = admission.admit(head, record)
                if record.observed is None:
                    self._reader.passed(admitted)
                else:  # each one is counted and logged
                    self.service.counters.note_observed(record)
            else:
                admitted.describe(record)
        except RequestError as error:
            self._reader.refused()
            self.refuse_exchange(error, head, record)
            return
        if admitted.pins:
            self.pins = True
        if self.pins:
            admission.carry(admitted.login)
        self._refusals_in_a_row = 0
        self._exchange = exchange = Exchange(self, self.service.pool(admission.site.upstream), admitted, record)
        exchange.start()

    def _check_ban(self, head: RequestHead, record: AccessRecord) -> None:
        """Refuse a client that is locked out; the log says what the request would have got. Raises `RequestError`."""
        admission = self.admission
        admission.name_client(head, record)  # a proxy's own lockout is not that of everybody behind it
        key = admission.lockout_key(record.connection.client_ip or "")
        if not (seconds := self.service.banned_seconds(key, record.now)):
            return
        otherwise = "it would have been let in"
        try:
            admission.readmit(head, record)
        except RequestError as error:
            otherwise = f"{error.reason}: {error.cause}"
        record.rule = record.decision = record.observed = None  # none of them decided
        raise LockedOut(seconds, key, otherwise)

    def note_failed_login(self, client_ip: str | None) -> None:
        """The upstream refused a login that came over this connection."""
        self.service.note_failure(self.admission.lockout_key(client_ip or ""), "login")

    def waited(self, wait: Wait) -> None:
        """What a request waited for is there."""
        self._exchange = None
        self._judge(wait.head, wait.record, None)

    # what an exchange asks of its client

    def feed_exchange(self) -> None:
        """The exchange can take the body now: hand over what came of it already."""
        exchange = self._exchange
        data = self._inlet.take()
        if exchange is not None and data:
            rest = exchange.request_data(data) if exchange.takes_body else data
            if rest:
                self._hold_for(exchange, rest)
        if self._half_closed is not None:
            self._all_is_fed(self._half_closed)

    def hold(self, data: bytes) -> None:
        """Keep what stands behind a request's body until its exchange has ended."""
        self._inlet.hold(data)

    def may_keep_alive(self, head: RequestHead) -> bool:
        """True when another request may follow on this connection."""
        if self._half_closed is not None and not self._inlet.held:
            return False
        return head.is_keep_alive and not self.service.is_draining

    def write(self, data: bytes) -> None:
        """Send plaintext to the client."""
        self._layer.write(data)
        if self.is_write_paused:
            self._uptake.begin(clock.monotonic_seconds())

    def takes_more(self) -> bool:
        """True where a client that reads slowly has taken some since it was written to, or since this was asked."""
        return self._uptake.goes_on(self.snapshot.config.limits, clock.monotonic_seconds())

    def log(self, record: AccessRecord) -> None:
        """Write the record of an exchange that has ended."""
        finish_record(record)
        self.service.log(record)

    def release_buffers(self) -> None:
        """Something large went through: what it needed is not held while the connection is idle."""
        self._layer.release_buffers()

    def exchange_done(self, unread_body: BodyReader | None) -> None:
        """The answer is delivered whole. `unread_body`: what of the request is still to come, to be thrown away."""
        self._forget_exchange()
        if self.closes_after_exchange or self.service.is_draining:
            self._close(is_lingering=unread_body is not None or bool(self._inlet.held))
            return
        self._expect_next()
        data = self._inlet.take()
        if unread_body is not None:
            self._drain = drain = BodyDrain(unread_body)
            self._drain_body(drain, data)
        elif self._has_lost_its_own():
            self._close(is_lingering=bool(data))
        elif data:
            self._read_next(data)

    def _has_lost_its_own(self) -> bool:
        """True when the upstream's connection ended that was this client's alone: both sides close together."""
        return self.pins and self.pinned is None

    def _forget_exchange(self) -> None:
        self._exchange = None
        if self._inlet.is_stopped:
            self._inlet.go_on()

    def _drain_body(self, drain: BodyDrain, data: bytes) -> None:
        try:
            rest = drain.feed(data)
        except BodyError:
            self._close(is_lingering=True)
            return
        if not drain.is_complete:
            if rest:
                self._inlet.hold(rest)
                self._wait_turn()
        else:
            self._drain = None
            if self._has_lost_its_own():
                self._close(is_lingering=bool(rest))
            elif rest:
                self._read(rest)

    def proxy_header(self) -> bytes:
        """What an upstream with `proxy_protocol` is told first on each connection that is made for this client."""
        peer = self.peer
        return encode_v2(Endpoint(peer.address, peer.port), peer.reached or self._layer.local)

    def owns_upstream(self, head: RequestHead | None, *, is_hidden: bool = False) -> None:
        """From now on the upstream's connection is this client's alone; `head`: of the request that is under way on it.

        `is_hidden`: the upstream goes on with a login there that belongs to the connection.
        """
        self.pins = True
        if is_hidden:
            self.carries_login = True
            self.admission.carry_hidden()
        elif head is not None:
            self.admission.carry(login_of("", None, head.values[AUTHORIZATION]))
        self._reader.forget()  # what was let in may have been let in by what the connection carried before

    def pin(self, upstream: UpstreamConnection, keep_alive_seconds: int | None, *, is_spent: bool) -> None:
        """Keep the upstream's connection for this client alone, until either side closes."""
        self.pinned = upstream
        upstream.pin(self, keep_alive_seconds, is_spent=is_spent)

    def unpin(self) -> None:
        """Give up the client's own upstream connection; what was logged in on it is logged out."""
        upstream, self.pinned = self.pinned, None
        if upstream is not None and upstream.exchange is None:
            upstream.discard()

    def pinned_lost(self) -> None:
        """The upstream closed this client's own connection: where a login went with it, both sides close together."""
        self.pinned = None
        if self._exchange is None and self.carries_login:
            self._close(is_lingering=False)

    def tunnel(self, tunnel: Tunnel) -> None:
        """What is under way is no HTTP any more."""
        self._exchange = tunnel
        self.feed_exchange()

    def write_eof(self) -> None:
        """The tunnel's other end has said all."""
        self._layer.write_eof()

    def close_after_tunnel(self) -> None:
        """The tunnel has ended."""
        self._forget_exchange()
        self._close(is_lingering=False)

    def abort_exchange(self) -> None:
        """The answer can't be finished: the client must see that it is not whole."""
        self._exchange = None
        self._layer.abort()

    def refuse_exchange(self, error: RequestError, head: RequestHead, record: AccessRecord) -> None:
        """Answer with a page instead, and log it."""
        self._forget_exchange()
        is_closing = self._is_one_too_many(error.reason) or closes(error.reason, head) or not self.may_keep_alive(head)
        if self.pins and record.upstream is not None:
            is_closing = True  # with it went the upstream's connection that was this client's alone
        self._refuse(error, head, record, is_closing=is_closing)
        if not is_closing:
            self._expect_next()
            if not self._is_reading and (data := self._inlet.take()):
                self._read_next(data)

    def _is_one_too_many(self, reason: Reason) -> bool:
        """Count a refusal. A trusted proxy's connection has many clients and stays open."""
        if not counts(reason) or self.admission.is_proxy:
            return False
        self._refusals_in_a_row += 1
        return reason is Reason.LOCKED_OUT or self._refusals_in_a_row >= MAX_REFUSALS_IN_A_ROW

    def close_unanswered(self, error: RequestError, record: AccessRecord) -> None:
        """Close, and log the request that was lost with the upstream's connection, which was this client's alone."""
        self._forget_exchange()
        self.unpin()
        note_unanswered(error, record)
        self.log(record)
        self._close(is_lingering=False)

    def _expect_next(self) -> None:
        """From here on time runs for the next request, or first for the client to take what it was answered."""
        limits = self.snapshot.config.limits
        seconds = limits.transfer_idle_seconds if self.is_write_paused else limits.keepalive_seconds
        self.deadline = clock.monotonic_seconds() + seconds

    def _refuse_unread(self, error: RequestError, data: bytes) -> None:
        """Answer what is no request, and close: nothing behind it can be told apart from it."""
        record = begin_record(self.admission.fields, None)
        record.bytes_in = len(data)
        self._refuse(error, None, record, is_closing=True)

    def _refuse(self, error: RequestError, head: RequestHead | None, record: AccessRecord, *, is_closing: bool) -> None:
        answer = write_refusal(
            self.snapshot.pages,
            error,
            head,
            self.admission.judgement,
            record,
            is_closing=is_closing,
            hsts=self.admission.site.hsts,
        )
        self._layer.write(answer)
        if error.reason in CERTIFICATE_FAILURES:
            self.service.note_failure(self.admission.lockout_key(record.connection.client_ip or ""), "certificate")
        self.log(record)
        if is_closing:
            self._close(is_lingering=True)

    # backpressure, deadlines, the end

    @property
    def is_read_paused(self) -> bool:
        """True while the upstream is slower than the client."""
        return self._inlet.is_stopped

    def pause_reading(self) -> None:
        """The upstream reads slowly."""
        self._inlet.stop()

    def resume_reading(self) -> None:
        """The upstream has caught up, or is gone."""
        self._inlet.go_on()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.resume_response()
        elif self._drain is None and self._layer.is_established and not self._layer.is_closing():
            self._expect_next()
            if not self._inlet.is_waiting and (data := self._inlet.take()):
                self._read_next(data)

    def on_deadline(self) -> None:
        """Whoever was to speak has not, in time."""
        if self._exchange is not None:
            self._exchange.on_deadline()
        elif self._layer.is_closing() or self.is_write_paused:
            if self.takes_more():
                self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.transfer_idle_seconds
            else:
                self._layer.abort()
        elif not self._layer.is_established:
            self.handshake_failed(f"not finished within {self.snapshot.config.limits.handshake_seconds:g} s")
            self._layer.abort()
        elif self._inlet.held:
            seconds = self.snapshot.config.limits.header_time_seconds
            self._refuse_unread(
                RequestError(Reason.REQUEST_TIMEOUT, f"the request was not complete within {seconds:g} s"),
                self._inlet.held,
            )
        else:
            self._close(is_lingering=self._drain is not None)

    def catch_up(self) -> None:
        """After a reload connections are judged some at a time: where that is still to come, now."""
        if self.snapshot is not self.service.snapshot:
            self.adopt(self.service.snapshot)

    def adopt(self, snapshot: Snapshot) -> None:
        """Judge anew by another snapshot: a request under way at once, later ones when they come."""
        site = snapshot.sites.find(self._server_name)
        exchange = self._exchange
        self._reader.forget()
        if site is None:
            if exchange is None:
                self._close(is_lingering=False)
            else:
                exchange.fail(RequestError(Reason.HOST_MISMATCH, "the site is no longer served"))
            return
        self.snapshot = snapshot
        if not self.pins and _is_of_one_client(site):
            self.owns_upstream(None if exchange is None else exchange.head)
        self.admission.adopt(snapshot, site)
        self._requests = self._own_requests()
        if not self._layer.is_established:
            return  # the certificate is looked at when the handshake is done
        self._judge_anew()

    def on_trust_end(self) -> None:
        """The certificate, a list or an answer that it was trusted by has ended: judge what is under way anew."""
        question = self.admission.question
        if self._exchange is None:
            self.trusted_until = float("inf")  # the next request is judged when it comes
        elif question is None or question.done():
            self._judge_anew()

    def _judge_anew(self) -> None:
        self._judge_certificate()
        exchange = self._exchange
        if exchange is not None:
            try:
                has_begun = not isinstance(exchange, Wait)
                self.admission.check_still(exchange.head, exchange.record, has_begun=has_begun)
            except RequestError as error:
                exchange.fail(error)

    def _judge_certificate(self) -> bool:
        """True when the verdict is another than before."""
        is_new = self.admission.judge(clock.now())
        self.trusted_until = self.admission.trusted_until
        return is_new

    def drain(self) -> None:
        """Close now, or after the exchange that is under way."""
        if self._lingering is not None:
            now = clock.monotonic_seconds()
            self._lingering.shorten(now)
            if not self.is_write_paused:
                self.deadline = min(self.deadline, self._lingering.deadline)
        elif self._exchange is None:
            self._close(is_lingering=False)

    def cut(self) -> None:
        """Close at once; what is under way is on record as far as it went."""
        self._layer.abort()

    def _close(self, *, is_lingering: bool) -> None:
        """Close; lingering where the client may still be sending, so that it reads the answer before a reset."""
        if self._layer.is_closing():
            return
        self._inlet.drop()
        self._drain = None
        now = clock.monotonic_seconds()
        self.deadline = now + self.snapshot.config.limits.transfer_idle_seconds
        self._uptake.begin(now)
        if is_lingering and self._half_closed is None:
            is_brief = self._is_over_limit or self.service.is_draining
            self._lingering = lingering = Lingering(now, is_brief=is_brief)
            if not self.is_write_paused:
                self.deadline = lingering.deadline
            self._layer.close_sending()
            self._layer.resume_reading()  # what was stopped for too much of it is thrown away now, to see the end
        else:
            self._layer.close()


def _is_of_one_client(site: SiteState) -> bool:
    """True where a connection to the site's upstream is for one client alone."""
    return site.upstream.connections == "per_client" or site.upstream.proxy_protocol
