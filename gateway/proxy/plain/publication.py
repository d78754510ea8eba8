"""Answers for a listener with `pki: true`: revocation lists, authorities' certificates and OCSP.

Keeps true: the worker reads the request, limits it and asks the publisher; it has no key and signs nothing. A slow
client delays neither the publisher nor other clients; a client that reads nothing is disconnected.
"""

from __future__ import annotations

from typing import Final, cast

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.body import BodyError, BodyReader, ChunkedReader, LengthReader
from gateway.http.events import Head, Interim, fields
from gateway.http.headers import value_of
from gateway.http.http1 import RequestHead
from gateway.http.published import MAX_OCSP_REQUEST_BYTES, Kind, Wanted, check_body_type, read_target
from gateway.http.relay import Question, Reply
from gateway.proxy.plain.connection import PlainConnection
from gateway.proxy.plain.published_body import Body
from gateway.proxy.plain.publisher_client import PublisherClient, PublisherRequest

# The publisher answers within milliseconds; while it is restarted, connections wait at its socket.
ANSWER_SECONDS: Final = 10.0
# Enough for the longest list over a slow line; slower clients would use up memory that others need.
TRANSFER_SECONDS: Final = 600.0
# Written at once; as much again may wait in the transport.
CHUNK_BYTES: Final = 32 * 1024
UPSTREAM: Final = "pki"  # in the access log
_NOT_MODIFIED: Final = 304


class Publications:
    """Answers requests for what the publisher publishes."""

    def __init__(self, publisher: PublisherClient | None) -> None:
        """`publisher`: None if the gateway runs none."""
        self._publisher = publisher

    def respond(self, connection: PlainConnection, head: RequestHead, rest: bytes) -> bool:
        """Ask the publisher, perhaps after the rest of the body. Raises `RequestError`."""
        wanted = read_target(head.method, head.target)
        if wanted is None:
            return False
        is_posted = wanted.kind is Kind.OCSP and wanted.request is None
        if is_posted:
            check_body_type(value_of(head.passing, b"content-type"))
        answer = PublishedAnswer(connection, head, self._publisher)
        if is_posted:
            answer.begin_body(rest)
        else:
            answer.ask(wanted)
        return True


class PublishedAnswer:
    """The answer to one request, from the publisher."""

    __slots__ = (
        "_answer",
        "_asked_seconds",
        "_body",
        "_connection",
        "_head",
        "_is_replied",
        "_publisher",
        "_publisher_request",
        "_question",
        "_record",
        "_sent_bytes",
    )

    def __init__(self, connection: PlainConnection, head: RequestHead, publisher: PublisherClient | None) -> None:
        self._connection = connection
        self._head = head
        self._publisher = publisher
        self._body: BodyReader | None = None  # of a request that is not complete yet
        self._question = b""
        self._publisher_request: PublisherRequest | None = None
        self._answer: Body | None = None  # that is being sent to the client
        self._sent_bytes = 0  # of it
        self._asked_seconds = 0.0  # when the publisher was asked, monotonic
        self._is_replied = False
        self._record = connection.wait_for(self)

    # the question

    @property
    def takes_body(self) -> bool:
        """True if the OCSP request is not complete."""
        return self._body is not None

    @property
    def is_due(self) -> bool:
        """True if the publisher was asked."""
        return self._publisher_request is not None or self._answer is not None

    def on_data(self, data: bytes) -> None:
        """Process bytes of the OCSP request. Raises `RequestError`."""
        self._feed(cast("BodyReader", self._body), data)

    def begin_body(self, rest: bytes) -> None:
        """Begin to read the OCSP request. Raises `RequestError`."""
        head = self._head
        if (head.content_length or 0) > MAX_OCSP_REQUEST_BYTES:
            raise _too_long()
        if head.expects_continue and not rest:
            self._connection.send([Interim(100, b"Continue", ())])
        self._body = ChunkedReader() if head.is_chunked else LengthReader(head.content_length or 0)
        self._feed(self._body, rest)

    def _feed(self, body: BodyReader, data: bytes) -> None:
        while data and not body.is_complete:
            try:
                payload, data = body.feed(data)
            except BodyError as error:
                raise RequestError(Reason.BAD_REQUEST, error.cause) from error
            self._question += payload
            if len(self._question) > MAX_OCSP_REQUEST_BYTES:
                raise _too_long()
        if body.is_complete:
            self._body = None
            self._connection.is_sending = False
            self.ask(Wanted(Kind.OCSP, request=self._question))

    def ask(self, wanted: Wanted) -> None:
        """Ask the publisher. Raises `RequestError`."""
        if (publisher := self._publisher) is None:
            raise RequestError(Reason.NO_HEALTHY_UPSTREAM, "this gateway runs no publisher")
        head = self._head
        question = Question(
            wanted,
            is_head=head.method == b"HEAD",
            is_cacheable=head.method != b"POST",
            if_none_match=value_of(head.passing, b"if-none-match"),
            if_modified_since=value_of(head.passing, b"if-modified-since"),
        )
        self._asked_seconds = clock.monotonic_seconds()
        self._connection.deadline = self._asked_seconds + ANSWER_SECONDS
        self._publisher_request = publisher.ask(question, self)

    # the answer

    def on_reply(self, reply: Reply, body: Body) -> None:
        """Send the head of the answer, which begins now."""
        record = self._record
        self._is_replied = True
        self._publisher_request, self._answer = None, body
        self._renew_deadline()
        self._note_publisher()
        record.status = record.upstream_status = reply.status
        pairs = [*reply.fields]
        if reply.status != _NOT_MODIFIED:  # its length would mean another answer's (RFC 9110 8.6)
            pairs.append(("Content-Length", f"{reply.length_bytes}"))
        pairs.append(("X-Request-Id", f"{record.request_id}"))
        parts = fields((name.encode("ascii"), value.encode("ascii")) for name, value in pairs)
        self._connection.send([Head(reply.status, None, parts, is_sized=True, may_keep_alive=False)])
        self.on_body()

    def on_body(self) -> None:
        """Send more of the body, as long as the client reads."""
        answer, connection = cast("Body", self._answer), self._connection
        while not connection.is_write_paused and (data := answer.part(self._sent_bytes, CHUNK_BYTES)):
            self._sent_bytes += len(data)
            self._record.bytes_out = self._sent_bytes
            connection.write(data)
            self._renew_deadline()
        if self._sent_bytes == answer.length_bytes:
            self._leave_answer()
            connection.end(self._record)
            if not connection.is_sending:  # the client may still have to read the last part
                self._renew_deadline()

    def on_failure(self, error: RequestError) -> None:
        """The publisher failed: refuse, or abort an answer that has begun."""
        self._publisher_request = self._answer = None
        if self._is_replied:
            self._connection.break_off(self._record, error)
        else:
            self._note_publisher()
            self._connection.refuse(error)

    def _leave_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.leave(self)

    def _note_publisher(self) -> None:
        record = self._record
        record.upstream = UPSTREAM
        record.upstream_ms = (clock.monotonic_seconds() - self._asked_seconds) * 1000
        record.bytes_in = len(self._question)

    def on_resumed(self) -> None:
        """The client has caught up: continue sending."""
        if self._answer is not None:
            self._renew_deadline()
            self.on_body()

    def _renew_deadline(self) -> None:
        connection = self._connection
        if not connection.is_write_paused:
            idle_seconds = connection.service.snapshot.config.limits.transfer_idle_seconds
            until_seconds = self._asked_seconds + TRANSFER_SECONDS
            connection.deadline = min(clock.monotonic_seconds() + idle_seconds, until_seconds)

    # the end

    def on_deadline(self) -> None:
        """End: the request or the publisher's answer did not arrive in time, or the client did not read the answer."""
        connection, was_asked = self._connection, self._publisher_request is not None
        self.drop()
        if self._is_replied:
            cause = "the client did not take the answer in time"
            connection.break_off(self._record, RequestError(Reason.REQUEST_TIMEOUT, cause))
        elif was_asked:
            self._note_publisher()
            cause = f"the publisher did not answer within {ANSWER_SECONDS:g} s"
            connection.refuse(RequestError(Reason.NO_HEALTHY_UPSTREAM, cause))
        else:
            connection.refuse(RequestError(Reason.REQUEST_TIMEOUT, "the OCSP request did not arrive in time"))

    def drop(self) -> None:
        """Ask for no more: the connection has ended."""
        publisher_request, self._publisher_request = self._publisher_request, None
        if publisher_request is not None:
            publisher_request.drop()
        self._leave_answer()


def _too_long() -> RequestError:
    return RequestError(Reason.BODY_TOO_LARGE, f"an OCSP request has at most {MAX_OCSP_REQUEST_BYTES} bytes")
