"""One request to one upstream connection, and its answer back.

Keeps true: what the upstream reads was written here from parsed values; neither body is ever held whole,
and a side that reads slowly stops the other (backpressure); an answer that was cut short is cut short for
the client too, never ended as if it were complete; the access record is written exactly once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway import clock
from gateway.errors import RequestError, UpstreamError
from gateway.facts import Reason
from gateway.http.body import (
    BodyError,
    BodyReader,
    ChunkedReader,
    CloseReader,
    LengthReader,
    encode_chunk,
    encode_last_chunk,
)
from gateway.http.fields import Fields
from gateway.http.headers import LAST_PASSING, ResponseClassifier
from gateway.http.http1 import END_OF_HEAD, ResponseHead, parse_response
from gateway.logs.record import AccessRecord

if TYPE_CHECKING:
    from gateway.proxy.admission import Admitted
    from gateway.proxy.connection import ClientConnection
    from gateway.proxy.pool import Pool
    from gateway.proxy.upstream import UpstreamConnection

# An upstream is trusted more than a client, but not with our memory.
MAX_RESPONSE_HEAD_BYTES: Final = 128 * 1024
# A client that announced a body and sends nothing of it.
BODY_IDLE_SECONDS: Final = 60.0
# RFC 9110 9.2.2, and WebDAV's reading methods (RFC 4918, RFC 3253): they may be sent again on a connection that
# turned out to be dead.
_REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND", b"REPORT"})

_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
_END: Final = b"\r\n"

_classify_response: Final = ResponseClassifier()


class Exchange:
    """A request that may pass, until its answer is delivered or failed."""

    __slots__ = (
        "_body_limit_bytes",
        "_bytes_in",
        "_bytes_out",
        "_client",
        "_connect_task",
        "_held",
        "_is_done",
        "_is_head_sent",
        "_is_retried",
        "_request",
        "_request_body",
        "_response",
        "_response_body",
        "_sends_chunked",
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
        self._request = b"%b%b%b" % (admitted.before, (record.request_id or "").encode("ascii"), admitted.after)
        self._request_body: BodyReader | None = None
        if head.is_chunked:
            self._request_body = ChunkedReader()
        elif head.content_length:
            self._request_body = LengthReader(head.content_length)
        self._body_limit_bytes = client.snapshot.config.limits.body_bytes
        self._upstream: UpstreamConnection | None = None
        self._connect_task: asyncio.Task[None] | None = None
        self._response: ResponseHead | None = None
        self._response_body: BodyReader | None = None
        self._sends_chunked = False
        self._held = b""  # an unfinished response head
        self._bytes_in = 0
        self._bytes_out = 0
        self._sent_at = 0.0
        self._is_head_sent = False  # towards the client
        self._is_retried = False
        self._is_done = False

    def __repr__(self) -> str:
        return f"<Exchange {self.record.method} {self.record.uri!r} via {self._upstream!r}>"

    # the request

    def start(self) -> None:
        """Send the request on an idle connection, or make one."""
        connection = self.pool.take(self._client.peer.address)
        if connection is None:
            self._connect()
        else:
            self.attach(connection)

    def _connect(self) -> None:
        self._client.deadline = float("inf")  # connecting has its own limit
        self._connect_task = self.pool.connect(self, self._client.peer.address)

    def attach(self, connection: UpstreamConnection) -> None:
        """The connection is this exchange's until it ends."""
        self._connect_task = None
        self._upstream = connection
        connection.exchange = self
        self.record.upstream = connection.state.url
        self._sent_at = now = clock.monotonic_seconds()
        connection.transport.write(self._request)
        if self._request_body is None:
            self._client.deadline = now + self.pool.upstream.timeouts.response_seconds
        else:
            self._client.deadline = now + BODY_IDLE_SECONDS
            self._client.feed_exchange()

    @property
    def takes_body(self) -> bool:
        """True when bytes from the client belong to the request's body and can be sent on."""
        body = self._request_body
        return body is not None and not body.is_complete and self._upstream is not None

    def request_data(self, data: bytes) -> bytes:
        """Bytes from the client; returns those that stand behind the body."""
        body, upstream = self._request_body, self._upstream
        if body is None or upstream is None:
            return data
        try:
            payload, rest = body.feed(data)
        except BodyError as error:
            self.fail(RequestError(Reason.BAD_REQUEST, str(error)))
            return b""
        self._bytes_in += len(payload)
        if self._bytes_in > self._body_limit_bytes:
            self.fail(RequestError(Reason.BODY_TOO_LARGE, f"the body is longer than {self._body_limit_bytes} bytes"))
            return b""
        upstream.transport.write(encode_chunk(payload) if self.head.is_chunked else payload)
        now = clock.monotonic_seconds()
        if body.is_complete:
            if self.head.is_chunked:
                upstream.transport.write(encode_last_chunk(self._passing_trailers(body.trailers)))
            self._client.deadline = now + self.pool.upstream.timeouts.response_seconds
        elif self._response is None:
            self._client.deadline = now + BODY_IDLE_SECONDS
        return rest

    def _passing_trailers(self, trailers: Fields) -> Fields:
        classify = self._client.snapshot.classify
        return [(name, value) for name, value in trailers if classify[name] == 0]

    def pause_request(self) -> None:
        """The upstream reads slowly: stop the client."""
        self._client.pause_reading()

    def resume_request(self) -> None:
        """The upstream has caught up."""
        self._client.resume_reading()

    # the answer

    def upstream_data(self, data: bytes) -> None:
        """Bytes from the upstream."""
        try:
            if self._response_body is None:
                self._read_response(self._held + data if self._held else data)
            else:
                self._send_body(b"", data)
        except BodyError as error:
            self.fail(UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, f"the answer's body: {error}"))
        except RequestError as error:
            self.fail(error)

    def _read_response(self, data: bytes) -> None:
        while True:
            end = data.find(END_OF_HEAD)
            if end < 0:
                if len(data) > MAX_RESPONSE_HEAD_BYTES:
                    raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "the answer's header section is too long")
                self._held = data
                return
            response = parse_response(data, end, _classify_response)
            data = data[end + 4 :]
            if response.status >= 200:
                break
            self._send_interim(response)
        self._held = b""
        self._response = response
        record = self.record
        record.upstream_status = response.status
        record.upstream_ms = (clock.monotonic_seconds() - self._sent_at) * 1000
        head = self._frame(response)
        self._is_head_sent = True
        record.status = response.status
        self._send_body(head, data)

    def _send_interim(self, response: ResponseHead) -> None:
        if response.status == 101:
            raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "the upstream switched protocols unasked")
        if self.head.minor:
            self._client.write(
                b"".join([b"HTTP/1.1 %d %b\r\n" % (response.status, response.reason), *response.passing, _END])
            )

    def _frame(self, response: ResponseHead) -> bytes:
        """Decide the framing towards the client (RFC 9112 6.3) and write the head."""
        head, client = self.head, self._client
        parts = [b"HTTP/1.1 %d %b\r\n" % (response.status, response.reason), *response.passing]
        length = response.content_length
        is_keep_alive = client.may_keep_alive(head)
        if length is not None:
            parts.append(b"Content-Length: %d\r\n" % length)
        if head.method == b"HEAD" or response.status in (204, 304):
            self._response_body = LengthReader(0)
        elif length is not None:
            self._response_body = LengthReader(length)
        else:
            self._response_body = ChunkedReader() if response.is_chunked else CloseReader()
            if head.minor:
                self._sends_chunked = True
                parts.append(_CHUNKED)
            else:
                is_keep_alive = False
        if not is_keep_alive:
            parts.append(_CLOSE)
            client.closes_after_exchange = True
        elif not head.minor:
            parts.append(_KEEP_ALIVE)
        parts.append(_END)
        return b"".join(parts)

    def _send_body(self, head: bytes, data: bytes) -> None:
        body = self._response_body
        if body is None:
            return
        payload, rest = body.feed(data) if data and not body.is_complete else (b"", data)
        self._bytes_out += len(payload)
        if self._sends_chunked:
            out = head + encode_chunk(payload)
            if body.is_complete:
                trailers = [field for field in body.trailers if _classify_response[field[0]] <= LAST_PASSING]
                out += encode_last_chunk(trailers)
        else:
            out = head + payload if head else payload
        self._client.write(out)
        if body.is_complete:
            self._complete(is_clean=not rest)
        elif not self.takes_body:
            self._client.deadline = clock.monotonic_seconds() + self.pool.upstream.timeouts.response_seconds

    def upstream_eof(self) -> bool:
        """The upstream will send no more: for some answers that is how they end, and then True."""
        if not isinstance(self._response_body, CloseReader) or self._response_body.is_complete:
            return False
        self._response_body.is_complete = True
        if self._sends_chunked:
            self._client.write(encode_last_chunk([]))
        self._complete(is_clean=False)
        return True

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone before the exchange ended."""
        upstream, self._upstream = self._upstream, None
        if self._is_done or upstream is None:
            return
        if error is None and self.upstream_eof():
            return
        is_stale = upstream.exchanges > 0 and self._response is None and not self._held
        if is_stale and not self._is_retried and self._request_body is None and self.head.method in _REPEATABLE:
            self._is_retried = True
            self._connect()
            return
        reason = Reason.UPSTREAM_UNREACHABLE if self._response is None else Reason.UPSTREAM_BAD_RESPONSE
        self.fail(
            UpstreamError(reason, f"the upstream closed the connection: {error or 'before the answer was complete'}")
        )

    def pause_response(self) -> None:
        """The client reads slowly: stop the upstream."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_response(self) -> None:
        """The client has caught up."""
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    # the end

    def _complete(self, *, is_clean: bool) -> None:
        """The answer is delivered; the connections go on where both sides agree on where it ended."""
        body = self._request_body
        is_request_complete = body is None or body.is_complete
        upstream, self._upstream = self._upstream, None
        self._is_done = True
        if upstream is not None:
            response = self._response
            if is_clean and is_request_complete and response is not None and response.is_keep_alive:
                upstream.release()
            else:
                upstream.discard()
        self._log()
        self._client.exchange_done(None if is_request_complete else body)

    def fail(self, error: RequestError) -> None:
        """End without a whole answer: with an error page where nothing was sent yet, else by cutting it short."""
        if self._is_done:
            return
        self._is_done = True
        self._let_go()
        self.record.reason = error.reason
        if self._is_head_sent:
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
        if self.takes_body and self._response is None:
            self.fail(RequestError(Reason.REQUEST_TIMEOUT, f"no byte of the body came for {BODY_IDLE_SECONDS:.0f} s"))
        else:
            seconds = self.pool.upstream.timeouts.response_seconds
            self.fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, f"the upstream did not answer within {seconds:g} s"))

    def _let_go(self) -> None:
        if self._connect_task is not None:
            self._connect_task.cancel()
            self._connect_task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()

    def _log(self) -> None:
        record = self.record
        record.bytes_in = self._bytes_in
        record.bytes_out = self._bytes_out
        self._client.log(record)
