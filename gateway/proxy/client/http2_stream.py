"""One request of an HTTP/2 connection: what its work asks of its client.

Keeps true: what a stream holds is bounded. A body waits within the stream's receive window, which the client gets back
only when the upstream can take more. An answer waits only as far as it was read before the upstream was paused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import HTTP_1_1_REQUIRED, Reason
from gateway.http.body import BodyReader
from gateway.http.events import Data, End, Event, FieldParts, Head, Interim
from gateway.http.fields import Fields
from gateway.http.http1 import RequestHead
from gateway.http.http2 import Http2Codec
from gateway.http.http2_frames import ErrorCode
from gateway.http.http2_requests import Request
from gateway.http.priority import Priority, parse_priority
from gateway.logs.record import AccessRecord
from gateway.proxy.exchange.tunnel import Tunnel
from gateway.proxy.limits.kept_bodies import KeptBodies
from gateway.proxy.ports import Work
from gateway.proxy.refusal import note_unanswered
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream.connection import UpstreamConnection
from gateway.tls.layer import SLICE_BYTES

# For so long after its answer a client may go on with its body. The stream's reset would come right behind the answer
# otherwise, and some clients throw the answer away then (curl 7.88).
LINGER_SECONDS: Final = 1.0
# A client that says nothing about priority can probably use the parts of all its answers at once.
UNSAID: Final = Priority(is_incremental=True)


class Owner(Protocol):
    """What a stream asks of its connection."""

    codec: Http2Codec
    snapshot: Snapshot
    is_write_paused: bool

    @property
    def kept_bodies(self) -> KeptBodies:
        """The bodies that the worker keeps for a retry."""

    def send_data(self, stream_id: int, payload: bytes, *, is_last: bool) -> int:
        """Send a part of an answer; returns how many bytes the client has a window for."""

    def flush_soon(self) -> None:
        """Write what there is to send."""

    def reads_on(self) -> bool:
        """True if the client has read enough lately."""

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""

    def catch_up(self) -> None:
        """Use the current snapshot now."""

    def judge(self, stream: Http2Stream, head: RequestHead, record: AccessRecord) -> None:
        """Judge a request, and start its exchange or refuse it."""

    def refuse(self, stream: Http2Stream, error: RequestError, head: RequestHead | None, record: AccessRecord) -> None:
        """Answer a request with a refusal, and log it."""

    def proxy_header(self) -> bytes:
        """The PROXY header that names this client to an upstream."""

    def note_failed_login(self, client_ip: str | None) -> None:
        """Count a login that the upstream refused."""

    def log(self, record: AccessRecord) -> None:
        """Finish and log the record."""

    def release_buffers(self) -> None:
        """Free the buffers of a large transfer."""

    def log_unbegun(self, request: Request | None, cause: str) -> None:
        """Log a request that ended before its turn."""

    def forget(self, stream: Http2Stream) -> None:
        """A stream has ended."""


class Http2Stream:
    """The client's side of one request."""

    __slots__ = (
        "_connection",
        "_end_fields",
        "_has_ended",
        "_has_put_end",
        "_held",
        "_is_end_told",
        "_is_reset",
        "_looked_seconds",
        "_taken_bytes",
        "_trailers",
        "_unsent",
        "_untaken_bytes",
        "carries_login",
        "closes_after_exchange",
        "deadline",
        "is_answered",
        "is_read_paused",
        "is_write_paused",
        "pinned",
        "pins",
        "priority",
        "request",
        "stream_id",
        "turn",
        "work",
    )

    def __init__(self, connection: Owner, stream_id: int, request: Request | None) -> None:
        """`request`: None if it can't be read."""
        self._connection = connection
        self.stream_id = stream_id
        self.request = request
        self.work: Work | None = None
        self.deadline = float("inf")
        self.closes_after_exchange = False  # a stream carries one request only
        self.carries_login = False  # logins of connections need HTTP/1.1
        self.pins = False
        self.pinned: UpstreamConnection | None = None
        self.is_read_paused = False  # the upstream is slower than the client
        self.is_write_paused = False  # the client is slower than the upstream
        self.priority = _priority_of(request)
        self.turn = 0  # an incremental answer's last one; the lowest is next
        self._held: list[bytes] = []  # parts of the body that the work has not taken
        self._untaken_bytes = 0  # taken by the work; the client gets them back when the upstream can take more
        self._has_ended = False  # the client has sent the whole request
        self._trailers: Fields = []
        self._is_end_told = False  # the work knows it
        self._unsent: deque[bytes] = deque()  # parts of the answer for which there was no window
        self._end_fields: Fields | None = None  # the answer ends behind them, with these trailers
        self._has_put_end = False  # the answer's end was sent, or waits behind `_unsent`
        self._is_reset = False
        self.is_answered = False  # the work has ended with an answer
        self._taken_bytes = 0  # of the answer, since the last look
        self._looked_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Http2Stream {self.stream_id} {self.work or 'waiting'}>"

    @property
    def snapshot(self) -> Snapshot:
        """The connection's snapshot."""
        return self._connection.snapshot

    @property
    def kept_bodies(self) -> KeptBodies:
        """The bodies that the worker keeps for a retry."""
        return self._connection.kept_bodies

    # the request

    def received(self, payload: bytes) -> None:
        """Keep a part of the body for the next `feed_exchange`."""
        if self.is_answered:
            self._connection.codec.drop(self.stream_id, len(payload))
        else:
            self._held.append(payload)

    def ended(self, trailers: Fields) -> None:
        """The request has ended."""
        self._has_ended = True
        self._trailers = trailers
        if self.is_answered and not self._unsent:
            self._connection.forget(self)

    def feed_exchange(self) -> None:
        """Hand over the part of the body that has arrived, and the end behind it."""
        work = self.work
        if work is None or self.is_read_paused or not work.takes_body:
            return
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            if rest := work.request_data(data):
                self._held.append(rest)
            self._untaken_bytes += len(data) - len(rest)
            if not self.is_read_paused:
                self._give_back()
        if self._has_ended and not (self._held or self._is_end_told or self.is_read_paused) and self.work is work:
            self._is_end_told = True
            work.request_end(self._trailers)

    def _give_back(self) -> None:
        """Let the client send as much again as the work has taken."""
        size, self._untaken_bytes = self._untaken_bytes, 0
        if size:
            self._connection.codec.take(self.stream_id, size)
            self._connection.flush_soon()

    def hold(self, data: bytes) -> None:
        """Data behind a request's body: the frames leave none."""

    def pause_reading(self) -> None:
        """Keep what arrives, and open the client's window no further: the upstream reads slowly."""
        self.is_read_paused = True

    def resume_reading(self) -> None:
        """Continue: the upstream has caught up, or is gone."""
        if self.is_read_paused:
            self.is_read_paused = False
            self._give_back()
            self.feed_exchange()

    # the answer

    def may_keep_alive(self, head: RequestHead) -> bool:  # noqa: ARG002
        """True: an answer's framing does not end an HTTP/2 connection."""
        return True

    def send(self, events: list[Event]) -> None:
        """Send a part of the answer."""
        codec, stream_id = self._connection.codec, self.stream_id
        count = len(events)
        at = 0
        while at < count:
            event = events[at]
            at += 1
            is_last = at < count and isinstance(following := events[at], End) and not following.trailers
            if isinstance(event, Data):
                self._put(event.payload, is_last=is_last)
            elif isinstance(event, Head):
                self._has_put_end = is_last
                codec.send_head(stream_id, event.status, _pairs(event.fields), is_last=is_last)
            elif isinstance(event, End):
                self._put_end(list(event.trailers))
            elif isinstance(event, Interim):
                codec.send_informational(stream_id, event.status, _pairs(event.fields))
                is_last = False
            else:  # a tunnel is open (RFC 8441 5)
                codec.send_head(stream_id, 200, _pairs(event.fields))
                is_last = False
            if is_last:
                break  # the end was sent with it
        self._connection.flush_soon()

    def write(self, data: bytes) -> None:
        """Send bytes of a tunnel."""
        self._put(data, is_last=False)
        self._connection.flush_soon()

    def write_eof(self) -> None:
        """Send no more: the tunnel's upstream has closed its direction."""
        self._put_end([])
        self._connection.flush_soon()

    def _put(self, payload: bytes, *, is_last: bool) -> None:
        """Send a part, or keep what the client has no window for."""
        if self._is_reset:
            return  # the work reads the answer to its end
        if is_last:
            self._has_put_end = True
        if not payload:
            if is_last:
                self._connection.send_data(self.stream_id, payload, is_last=True)
            return
        if not self._unsent and not self._connection.is_write_paused:
            payload = self._send_parts(payload, is_last=is_last)
            if not payload:
                return
        self._unsent.append(payload)
        if is_last:
            self._end_fields = []
        if not self.is_write_paused:
            self.is_write_paused = True
            self._look()
            if self.work is not None:
                self.work.pause_response()

    def _send_parts(self, payload: bytes, *, is_last: bool) -> bytes:
        """Send as much as the client takes now; returns the rest."""
        connection, stream_id, size = self._connection, self.stream_id, len(payload)
        at = 0
        while at < size and not connection.is_write_paused:
            part = payload[at : at + SLICE_BYTES] if size > SLICE_BYTES else payload
            sent = connection.send_data(stream_id, part, is_last=is_last and at + len(part) == size)
            at += sent
            if sent < len(part):
                break
        self._taken_bytes += at
        return payload[at:] if at else payload

    def _put_end(self, trailers: Fields) -> None:
        if self._has_put_end:
            return
        self._has_put_end = True
        if self._unsent:
            self._end_fields = trailers
        elif trailers:
            self._connection.codec.send_trailers(self.stream_id, trailers)
        else:
            self._connection.send_data(self.stream_id, b"", is_last=True)

    @property
    def may_send(self) -> bool:
        """True if a part of the answer waits, and the client has a window for it."""
        return bool(self._unsent) and self._connection.codec.sendable_bytes(self.stream_id) > 0

    def send_slice(self) -> None:
        """Send the next part that waits; after the last one, the work continues."""
        unsent = self._unsent
        payload = unsent.popleft()
        part = payload[:SLICE_BYTES]
        is_end = not unsent and len(part) == len(payload) and self._end_fields == []
        sent = self._connection.send_data(self.stream_id, part, is_last=is_end)
        self._taken_bytes += sent
        if sent < len(payload):
            unsent.appendleft(payload[sent:])
            return
        if unsent:
            return
        self.is_write_paused = False
        if self._end_fields:
            self._connection.codec.send_trailers(self.stream_id, self._end_fields)
        if self.work is not None:
            self.work.resume_response()
        elif self.is_answered:
            self._finish()

    def takes_more(self) -> bool:
        """True if a slow client has read enough since the last write or the last call of this method."""
        taken, seconds = self._taken_bytes, clock.monotonic_seconds() - self._looked_seconds
        self._look()
        if self._connection.is_write_paused:  # what it has read may belong to other streams
            return self._connection.reads_on()
        return taken > 0 and taken >= seconds * self.snapshot.config.limits.body_bytes_per_second

    def _look(self) -> None:
        self._taken_bytes = 0
        self._looked_seconds = clock.monotonic_seconds()

    # turns

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""
        self._connection.wait_turn(go_on)

    def catch_up(self) -> None:
        """Use the current snapshot now; this may refuse the request."""
        self._connection.catch_up()

    def waited(self, work: Work) -> None:
        """The wait has ended: judge the request again."""
        self.work = None
        self._connection.judge(self, work.head, work.record)

    def tunnel(self, work: Work) -> None:
        """Carry a tunnel instead of HTTP from now on."""
        self.work = work
        self.feed_exchange()

    # the upstream connection is never this client's own

    def proxy_header(self) -> bytes:
        """The PROXY header that names this client to an upstream."""
        return self._connection.proxy_header()

    def owns_upstream(self, head: RequestHead | None, *, is_hidden: bool = False) -> None:  # noqa: ARG002
        """The upstream asks for a login that belongs to the connection: ask the client for HTTP/1.1."""
        self.pins = self.closes_after_exchange = True  # no login needs the rest of the request
        if self.work is not None:
            note_needs_http1(self.work.record)
        self._reset(ErrorCode.HTTP_1_1_REQUIRED)

    def pin(self, upstream: UpstreamConnection, keep_alive_seconds: int | None, *, is_spent: bool) -> None:  # noqa: ARG002
        """Close the upstream connection: it may carry a login, and no other client may get it."""
        upstream.discard()

    def unpin(self) -> None:
        """Nothing to do: no upstream connection is this client's own."""

    def pinned_lost(self) -> None:
        """Nothing to do: no upstream connection is this client's own."""

    def note_failed_login(self, client_ip: str | None) -> None:
        """Count a login that the upstream refused."""
        self._connection.note_failed_login(client_ip)

    # the end

    def log(self, record: AccessRecord) -> None:
        """Finish and log the record."""
        self._connection.log(record)

    def release_buffers(self) -> None:
        """Free the buffers of a large transfer."""
        self._connection.release_buffers()

    def exchange_done(self, unread_body: BodyReader | None) -> None:  # noqa: ARG002
        """The answer was sent, or waits for the client's window."""
        self.work = None
        self.is_answered = True
        if dropped := sum(map(len, self._held)) + self._untaken_bytes:
            self._held.clear()
            self._untaken_bytes = 0
            self._connection.codec.drop(self.stream_id, dropped)
        self._finish()

    def _finish(self) -> None:
        """The answer is complete: the stream ends when it is sent, and the client's body has ended or is not wanted."""
        now = clock.monotonic_seconds()
        if self._unsent:
            self.deadline = now + self.snapshot.config.limits.transfer_idle_seconds
        elif self._has_ended:
            self._connection.forget(self)
        else:
            self.deadline = now + LINGER_SECONDS

    def refuse_exchange(self, error: RequestError, head: RequestHead, record: AccessRecord) -> None:
        """Answer the request with a refusal, and log it."""
        self.work = None
        self._connection.refuse(self, error, head, record)

    def close_unanswered(self, error: RequestError, record: AccessRecord) -> None:
        """Log the request, and end the stream without an answer."""
        note_unanswered(error, record)
        self.log(record)
        self.abort_exchange()

    def abort_exchange(self) -> None:
        """The answer can't be completed: reset the stream, so that the client notices."""
        self.work = None
        self._reset(ErrorCode.INTERNAL_ERROR)
        self._connection.forget(self)

    def close_after_tunnel(self) -> None:
        """End the stream after the end of its tunnel."""
        self._put_end([])
        self.exchange_done(None)
        self._connection.flush_soon()

    def gone(self, cause: str = "") -> None:
        """The stream or the connection has ended: end the work, and log the request. `cause`: the client's fault."""
        work, self.work = self.work, None
        self._unsent.clear()
        if work is not None:
            if cause:
                work.record.refused(Reason.BAD_REQUEST, cause)
            work.client_gone()
        elif self.request is not None:
            self._connection.log_unbegun(self.request, cause)

    @property
    def is_only_delivered(self) -> bool:
        """True if both sides have ended a tunnel, and the upstream has not read all of it."""
        return isinstance(self.work, Tunnel) and self._has_ended and self._has_put_end

    def on_deadline(self) -> None:
        """The deadline has passed: the work decides, or the client has stopped reading the rest of its answer."""
        if self.work is not None:
            self.work.on_deadline()
        elif not self._unsent:
            self._connection.codec.discard(self.stream_id)
            self._connection.forget(self)
            self._connection.flush_soon()
        elif self.takes_more():
            self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.transfer_idle_seconds
        else:
            self._unsent.clear()
            self._reset(ErrorCode.CANCEL)
            self._connection.forget(self)

    def _reset(self, code: ErrorCode) -> None:
        self._is_reset = True
        self._unsent.clear()
        self._connection.codec.reset(self.stream_id, code, clock.monotonic_seconds())
        self._connection.flush_soon()


def note_needs_http1(record: AccessRecord) -> None:
    """Note that the client was asked to use HTTP/1.1."""
    record.refused(HTTP_1_1_REQUIRED, "a login with NTLM or Negotiate needs HTTP/1.1: the client was told to use it")


def _priority_of(request: Request | None) -> Priority:
    """What the request's `priority` field says (RFC 9218 section 5)."""
    if request is not None:
        said = [value for name, value in request.fields if name == b"priority"]
        if said:
            return parse_priority(b", ".join(said))
    return UNSAID


def _pairs(parts: FieldParts) -> Fields:
    """The fields without colons and line ends."""
    return list(zip(parts[::4], parts[2::4], strict=True))
