"""One client's connection over HTTP/2: its requests are judged one after the other, and served at the same time.

Keeps true: a stream never holds up another. Requests begin one in a turn, as they do over HTTP/1.1; the codec bounds
how many wait. An answer waits in its stream, not in the connection, so that more urgent ones can overtake it (RFC
9218). The connection belongs to the server name of its handshake: other hosts are answered 421.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import ANOTHER_CERTIFICATE_COULD_HELP, Peer, Reason
from gateway.http import http2_requests
from gateway.http import http2_streams as codec_events
from gateway.http.http1 import RequestHead
from gateway.http.http2 import Http2Codec
from gateway.http.http2_frames import ErrorCode
from gateway.http.http2_head import request_head
from gateway.http.http2_limits import Limits
from gateway.logs.record import AccessRecord
from gateway.policy.hosts import normalise_host
from gateway.proxy.client.connection import ClientConnection, is_of_one_client
from gateway.proxy.client.http2_stream import Http2Stream, note_needs_http1
from gateway.proxy.exchange.exchange import Exchange
from gateway.proxy.exchange.waiting import RateWait, StatusWait
from gateway.proxy.ports import Work
from gateway.proxy.records import begin_record
from gateway.proxy.refusal import refusal_events
from gateway.proxy.service import Service
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.tls.alpn import HTTP_2

_NEVER: Final = float("inf")
# For so long after a GOAWAY the client may send requests that it had begun before it read it.
GOAWAY_SECONDS: Final = 5.0
# Frames are written to the socket together, but not more of them than this, so that a slow client is noticed.
_WRITTEN_AT_ONCE_BYTES: Final = 32 * 1024
# Each field counts with 32 bytes more (RFC 9113 10.5.1).
_FIELD_OVERHEAD_BYTES: Final = 32
# Beside what `limits.headers` and `limits.header_bytes` count; :authority counts as Host.
_PSEUDO_FIELDS: Final = 4  # :method, :scheme, :path, :protocol
_PSEUDO_BYTES: Final = 128  # their names, and what is not the host or the path
# How often at most a client is asked whether it reads what was written to it.
_LOOK_SECONDS: Final = 0.5
# A request beside others counts as a connection (see `Connections.admit_beside`). Where the client has too many, the
# request waits for so long, as a page's many requests soon end, and is refused then. It is tried again so often.
FULL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.05
# So many requests that have ended may still be counted, so that not each one is counted anew.
_COUNTED_SLACK: Final = 8
_PROTOCOL: Final = "HTTP/2.0"


class Http2Connection(ClientConnection):
    """The HTTP/2 side of a client's TLS connection."""

    __slots__ = (
        "_begun",
        "_beside",
        "_full_since",
        "_has_window_opened",
        "_host",
        "_is_flush_due",
        "_is_going",
        "_is_half_closed",
        "_is_turn_due",
        "_looked_seconds",
        "_own_deadline",
        "_reads_on",
        "_retry",
        "_streams",
        "_turns",
        "_unwritten_bytes",
        "codec",
    )
    protocols = frozenset({HTTP_2})

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
        self._own_deadline = _NEVER
        self._streams: dict[int, Http2Stream] = {}
        super().__init__(
            service,
            snapshot,
            site,
            peer,
            server_name=server_name,
            public_port=public_port,
            is_over_limit=is_over_limit,
        )
        limits = snapshot.config.limits
        fields = limits.headers + _PSEUDO_FIELDS
        self.codec = Http2Codec(
            Limits(
                uri_bytes=limits.uri_bytes,
                list_bytes=limits.uri_bytes + limits.header_bytes + _FIELD_OVERHEAD_BYTES * fields + _PSEUDO_BYTES,
                fields=fields,
            )
        )
        self._begun: dict[int, tuple[Http2Stream, RequestError | None]] = {}  # requests that wait for their turn
        self._beside = 0  # requests that are counted as connections
        self._full_since: float | None = None  # the client has too many requests
        self._retry: asyncio.TimerHandle | None = None  # tries again to begin one
        self._has_window_opened = False
        self._is_turn_due = False
        self._is_flush_due = False
        self._turns = 0  # of incremental answers: parts that were sent
        self._unwritten_bytes = 0  # of answers, since the last write
        self._is_going = False  # the client was asked for no more requests
        self._is_half_closed = False  # the client has closed its side
        self._host: bytes | None = None  # the last host that was found to be the handshake's
        self._looked_seconds = -_NEVER
        self._reads_on = True

    def __repr__(self) -> str:
        return f"<Http2Connection {self.peer.address} {len(self._streams)} streams>"

    # `deadline` is that of the connection, and set as such; a stream's comes first if it is earlier.

    @property
    def deadline(self) -> float:
        """When something must be done, on the monotonic clock."""
        return min([self._own_deadline, *[stream.deadline for stream in self._streams.values()]])

    @deadline.setter
    def deadline(self, seconds: float) -> None:
        self._own_deadline = seconds

    def works(self) -> Sequence[Work]:
        """The work under way, one for each request."""
        return [stream.work for stream in self._streams.values() if stream.work is not None]

    def handshake_done(self) -> None:
        """The handshake is finished: judge the certificate, and send the settings."""
        super().handshake_done()
        self.flush_soon()

    # reading

    def data_received(self, data: bytes) -> None:
        """Process plaintext from the client."""
        streams = self._streams
        fed: dict[int, Http2Stream] = {}
        for event in self.codec.receive(data, clock.monotonic_seconds()):
            if isinstance(event, codec_events.Data):
                if (stream := streams.get(event.stream_id)) is not None:
                    stream.received(event.payload)
                    fed[event.stream_id] = stream
            elif isinstance(event, codec_events.End):
                if (stream := streams.get(event.stream_id)) is not None:
                    stream.ended(event.trailers)
                    fed[event.stream_id] = stream
            else:
                _HANDLERS[type(event)](self, event)
        for stream in fed.values():  # all parts at once, however small the frames were
            stream.feed_exchange()
        if self._has_window_opened:  # the same for windows that open little by little
            self._has_window_opened = False
            self._send_waiting()
        if self._begun and not self._is_turn_due:
            self._begin_next()
        self._end_if_served()
        self.flush_soon()

    def _request(self, event: http2_requests.Request) -> None:
        self._await_turn(Http2Stream(self, event.stream_id, event), None)

    def _refused_request(self, event: codec_events.RefusedRequest) -> None:
        stream = Http2Stream(self, event.stream_id, None)
        stream.ended([])
        self._await_turn(stream, event.error)

    def _await_turn(self, stream: Http2Stream, error: RequestError | None) -> None:
        self._streams[stream.stream_id] = stream
        self._begun[stream.stream_id] = stream, error
        if not (self._is_going or self.is_write_paused):
            self._own_deadline = _NEVER

    def _reset(self, event: codec_events.Reset) -> None:
        """A stream has ended before its time: by the client, or because its request is malformed."""
        stream = self._streams.get(event.stream_id)
        cause = "" if event.by_client else f"HTTP/2: {event.cause}"
        if stream is not None:
            stream.gone(cause)
            self.forget(stream)
        elif not event.by_client:
            self.log_unbegun(None, cause)

    def _window_opened(self, _event: codec_events.WindowOpened) -> None:
        self._has_window_opened = True

    def _priority_changed(self, event: codec_events.PriorityChanged) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.priority = event.priority

    def _client_goes_away(self, _event: codec_events.ClientGoesAway) -> None:
        self._go_away(is_at_once=True)

    def _ended(self, event: codec_events.ConnectionEnded) -> None:
        """The client broke the rules or exceeded a limit: end all its requests."""
        self.log_unbegun(None, f"HTTP/2: {event.cause}")
        self._end()

    def log_unbegun(self, request: http2_requests.Request | None, cause: str) -> None:
        """Log a request that ended before its turn, or a fault of the client. `cause`: empty if it is none."""
        record = self._record_of(request)
        if cause:
            record.refused(Reason.BAD_REQUEST, cause)
        self.log(record)

    # judging

    def _begin_next(self) -> None:
        """Begin one request. Before a further one, other clients are served."""
        self.catch_up()
        if self.is_write_paused or self._layer.is_closing():  # a client must read its answers first
            return
        if not self._has_room():
            self._is_turn_due = True
            self._retry = self.service.loop.call_later(_RETRY_SECONDS, self._go_on)
            return
        self._begin(*self._begun.pop(next(iter(self._begun))))
        if self._begun:
            self._is_turn_due = True
            self.wait_turn(self._go_on)

    def _has_room(self) -> bool:
        """True if the client may have one more request under way, or has to be refused one."""
        under_way = len(self._streams) - len(self._begun)
        if under_way > self._beside:
            if not self.service.connections.admit_beside(self.peer.address, self.snapshot.config.limits):
                return self._is_full_too_long()
            self._beside += 1
        self._full_since = None
        return True

    def _is_full_too_long(self) -> bool:
        now = clock.monotonic_seconds()
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since < FULL_SECONDS:
            return False
        stream, error = next(iter(self._begun.values()))
        full = RequestError(Reason.TOO_MANY_CONNECTIONS, "too many requests at a time")
        self._begun[stream.stream_id] = stream, error or full
        return True

    def _uncount(self) -> None:
        """Requests have ended: count no more than are under way."""
        beside = max(0, len(self._streams) - len(self._begun) - 1)
        if self._beside > beside + (_COUNTED_SLACK if beside else 0):
            self.service.connections.end_beside(self.peer.address, self._beside - beside)
            self._beside = beside

    def _go_on(self) -> None:
        self._is_turn_due = False
        self._retry = None
        if self._begun:
            self._begin_next()
        self._end_if_served()

    def _begin(self, stream: Http2Stream, error: RequestError | None) -> None:
        request = stream.request
        if request is None or error is not None:
            self._refuse_unread(stream, error or RequestError(Reason.BAD_REQUEST, "no request"))
            return
        try:
            head = request_head(request, self.snapshot.classify, headers=self.snapshot.config.limits.headers)
        except RequestError as refusal:
            self._refuse_unread(stream, refusal)
            return
        stream.request = None  # its fields are in the head
        record = begin_record(self.admission.fields, head)
        requests = self._requests or self._requests_of_named(head, record)
        if requests is None or (seconds := requests.delay_seconds(record.duration_ms or 0.0)) <= 0:
            self.judge(stream, head, record)
        else:
            stream.work = wait = RateWait(stream, head, record)
            wait.start(self.service.loop, requests, seconds)

    def judge(self, stream: Http2Stream, head: RequestHead, record: AccessRecord) -> None:
        """Judge one request, and start its exchange or refuse it."""
        admission = self.admission
        try:
            self._check_host(head)
            admitted = self._admit(head, record, None)
        except RequestError as error:
            self.refuse(stream, error, head, record)
            return
        if admitted is None:
            if (question := admission.question) is not None:
                stream.work = wait = StatusWait(stream, head, record)
                wait.start(question)
            return
        site = admission.site
        if admitted.pins or is_of_one_client(site):
            self._require_http1(stream, record)
            return
        self._refusals_in_a_row = 0
        stream.work = exchange = Exchange(stream, self.service.pools.of(site.upstream), admitted, record, site.hsts)
        exchange.start()

    def _check_host(self, head: RequestHead) -> None:
        """Refuse another host than the handshake's: its rules may ask for a certificate (RFC 9113 9.1.1)."""
        host = head.host
        if host is None or host == self._host or self._server_name is None:
            return
        if normalise_host(host.decode("latin-1")) != self._server_name:
            raise RequestError(Reason.HOST_MISMATCH, "the host is not the server name of the TLS handshake")
        self._host = host

    def _require_http1(self, stream: Http2Stream, record: AccessRecord) -> None:
        """Ask the client for HTTP/1.1: the request needs an upstream connection of its own."""
        note_needs_http1(record)
        self.log(record)
        self.codec.reset(stream.stream_id, ErrorCode.HTTP_1_1_REQUIRED, clock.monotonic_seconds())
        self.forget(stream)
        self.flush_soon()

    def refuse(self, stream: Http2Stream, error: RequestError, head: RequestHead | None, record: AccessRecord) -> None:
        """Answer a request with a refusal, log it, and end the connection if it can't get anything else."""
        reason = error.reason
        is_last = self._is_one_too_many(reason) or reason in _ENDS_CONNECTION
        events = refusal_events(
            self.snapshot.pages,
            error,
            head,
            self.admission.judgement,
            record,
            is_closing=is_last,
            hsts=self.admission.site.hsts,
        )
        stream.send(events)
        self.note_refusal(reason, record)
        stream.exchange_done(None)
        if is_last:
            self._go_away(is_at_once=True)

    def _refuse_unread(self, stream: Http2Stream, error: RequestError) -> None:
        self.refuse(stream, error, None, self._record_of(stream.request))

    def _record_of(self, request: http2_requests.Request | None) -> AccessRecord:
        """The record of a request that was not judged; None: of one that can't be read, or of no request."""
        record = begin_record(self.admission.fields, None)
        record.protocol = _PROTOCOL
        if request is not None:
            record.method, record.host, record.uri = request.method.decode("latin-1"), request.authority, request.target
        return record

    # sending

    def send_data(self, stream_id: int, payload: bytes, *, is_last: bool) -> int:
        """Send a part of an answer; returns how many bytes the client has a window for."""
        sent = self.codec.send_data(stream_id, payload, clock.monotonic_seconds(), is_last=is_last)
        self._unwritten_bytes += sent
        if self._unwritten_bytes >= _WRITTEN_AT_ONCE_BYTES:
            self._flush()
        return sent

    def flush_soon(self) -> None:
        """Write what there is to send, with what the other streams send in this turn of the loop."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self.service.loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        self._flush()
        ended = self.codec.ended
        if ended is not None and not self._layer.is_closing():  # by too many resets of the gateway itself
            self._ended(ended)

    def _flush(self) -> None:
        if self._layer.is_closing():
            return
        if self._is_half_closed:
            self.codec.take_output()  # a client that is gone would answer with a reset
        elif not self.is_write_paused:
            self._unwritten_bytes = 0
            if data := self.codec.take_output():
                self.write(data)

    def _send_waiting(self) -> None:
        """Send what waits for a window or for the client to read, the most urgent first."""
        while not self.is_write_paused and not self._layer.is_closing():
            waiting = [stream for stream in self._streams.values() if stream.may_send]
            if not waiting:
                self._await_windows()
                return
            stream = min(waiting, key=_order)
            if stream.priority.is_incremental:
                self._turns += 1
                stream.turn = self._turns
            stream.send_slice()
            self.flush_soon()

    def _await_windows(self) -> None:
        """Ask the codec to tell of windows for what still waits: the last one may have ended just with a part."""
        now = clock.monotonic_seconds()
        for stream in self._streams.values():
            if stream.is_write_paused:
                self.codec.await_window(stream.stream_id, now)

    def pause_writing(self) -> None:
        """The client reads slowly. Streams notice it when they have something to send."""
        self.is_write_paused = True
        idle_seconds = self.snapshot.config.limits.transfer_idle_seconds
        self._own_deadline = min(self._own_deadline, clock.monotonic_seconds() + idle_seconds)

    def resume_writing(self) -> None:
        """The client has caught up: continue with the answers, and with requests that wait."""
        self.is_write_paused = False
        if not self._is_going:
            self._expect_next()
        self._flush()
        self._send_waiting()
        if self._begun and not self._is_turn_due:
            self._is_turn_due = True
            self.wait_turn(self._go_on)

    def reads_on(self) -> bool:
        """True if the client has read enough lately; several streams ask in the same moment."""
        now = clock.monotonic_seconds()
        if now - self._looked_seconds >= _LOOK_SECONDS:
            self._looked_seconds = now
            self._reads_on = self.takes_more()
        return self._reads_on

    # the end

    def forget(self, stream: Http2Stream) -> None:
        """A stream has ended."""
        self._begun.pop(stream.stream_id, None)
        if self._streams.pop(stream.stream_id, None) is None:
            return
        if self._beside:
            self._uncount()
        if self._retry is not None and self._begun:  # there is room for another request of this connection
            self._retry.cancel()
            self._retry = None
            self.wait_turn(self._go_on)
        if self._streams:
            return
        if self._is_going:
            self.service.loop.call_soon(self._end_if_served)
        elif not self.is_write_paused:
            self._expect_next()

    def _expect_next(self) -> None:
        """Set the connection's own deadline: only while no request is under way."""
        seconds = _NEVER if self._streams else self.snapshot.config.limits.keepalive_seconds
        self._own_deadline = clock.monotonic_seconds() + seconds

    def _go_away(self, *, is_at_once: bool = False) -> None:
        """Ask the client for no more requests (RFC 9113 6.8); those under way are served.

        `is_at_once`: later requests are not served; else those that the client sends before it has read the GOAWAY are.
        """
        if not self._is_going:
            self._is_going = True
            self._own_deadline = clock.monotonic_seconds() + GOAWAY_SECONDS
            if not is_at_once:
                self.codec.announce_end()
        if is_at_once:
            self.codec.refuse_new_streams()
            self.service.loop.call_soon(self._end_if_served)
        self.flush_soon()

    def _end_if_served(self) -> None:
        """Close after the last answer, if the client was asked for no more requests and knows it."""
        if self._is_going and not self._streams and self.codec.refuses_new_streams and not self._layer.is_closing():
            self._end()

    def _end(self) -> None:
        """End the connection: what is to be sent is sent, requests under way end."""
        streams = list(self._streams.values())
        self._streams.clear()
        self._begun.clear()
        self._uncount()
        for stream in streams:
            stream.gone()
        self._flush()
        self._close(is_lingering=True)

    def eof_received(self) -> bool:
        """The client sends no more, and reads no answers. True if a tunnel that has ended is still being delivered."""
        for stream in [each for each in self._streams.values() if not each.is_only_delivered]:
            stream.gone()
            self.forget(stream)
        if not self._streams:
            return False
        self._is_going = self._is_half_closed = True
        self.codec.refuse_new_streams()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed: end everything that belongs to it."""
        streams = list(self._streams.values())
        self._streams.clear()
        self._begun.clear()
        self._uncount()
        for stream in streams:
            stream.gone()
        super().connection_lost(error)

    def on_deadline(self) -> None:
        """A deadline has passed: a stream's, or that of the connection."""
        now = clock.monotonic_seconds()
        for stream in [each for each in self._streams.values() if each.deadline < now]:
            stream.on_deadline()
        if self._own_deadline >= now:
            return
        if self._layer.is_closing() or self.is_write_paused or not self._layer.is_established:
            super().on_deadline()
        elif self._is_going:
            self.codec.refuse_new_streams()
            self._own_deadline = _NEVER
            self._end_if_served()
            self.flush_soon()
        else:
            self._go_away(is_at_once=True)

    def drain(self) -> None:
        """Close after the requests under way, and those that the client has sent already."""
        if self._lingering is not None or not self._layer.is_established:
            super().drain()
        else:
            self._go_away()

    def adopt(self, snapshot: Snapshot) -> None:
        """Use another snapshot: requests under way are judged at once.

        After a reload, the client is asked to make a new connection: the handshake depends on the configuration too.
        """
        is_reload = snapshot.config.digest != self.snapshot.config.digest
        super().adopt(snapshot)
        self._host = None
        if self._layer.is_established and not self._layer.is_closing():
            if self.snapshot is not snapshot:
                self._go_away(is_at_once=True)  # the site is no longer served
            elif is_reload:
                self._go_away()


# After these, another request on the connection would be refused too.
_ENDS_CONNECTION: Final = ANOTHER_CERTIFICATE_COULD_HELP | {Reason.TOO_MANY_CONNECTIONS}

_HANDLERS: Final[dict[type, Callable[[Http2Connection, Any], None]]] = {
    http2_requests.Request: Http2Connection._request,
    codec_events.RefusedRequest: Http2Connection._refused_request,
    codec_events.Reset: Http2Connection._reset,
    codec_events.WindowOpened: Http2Connection._window_opened,
    codec_events.PriorityChanged: Http2Connection._priority_changed,
    codec_events.ClientGoesAway: Http2Connection._client_goes_away,
    codec_events.ConnectionEnded: Http2Connection._ended,
}


def _order(stream: Http2Stream) -> tuple[int, int, int]:
    """The order of answers: the most urgent first; of these, incremental ones in turns (RFC 9218 section 10)."""
    priority = stream.priority
    return priority.urgency, stream.turn if priority.is_incremental else 0, stream.stream_id
