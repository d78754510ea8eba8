"""A connection to a listener with `pki: true`: serves revocation lists, authorities' certificates and OCSP.

Keeps true: the worker reads the request, limits it and asks the publisher; it has no key and signs nothing. A slow
client delays neither the publisher nor other clients; a client that reads nothing is disconnected. Challenges of
`acme_webroot` are answered too. Everything else is redirected if the listener redirects, else refused.
"""

from __future__ import annotations

from typing import Final, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.body import BodyError, BodyReader, ChunkedReader, LengthReader
from gateway.http.events import Head, Interim, fields
from gateway.http.headers import value_of
from gateway.http.http1 import RequestHead
from gateway.http.published import MAX_OCSP_REQUEST_BYTES, Kind, Wanted, check_body_type, read_target
from gateway.http.relay import Question, Reply
from gateway.logs.record import AccessRecord
from gateway.proxy.plain.challenge import ChallengeConnection
from gateway.proxy.plain.published_body import Body
from gateway.proxy.plain.publisher_client import PublisherRequest
from gateway.proxy.service import Service

# The publisher answers within milliseconds; while it is restarted, connections wait at its socket.
ANSWER_SECONDS: Final = 10.0
# Enough for the longest list over a slow line; slower clients would use up memory that others need.
TRANSFER_SECONDS: Final = 600.0
# Written at once; as much again may wait in the transport.
CHUNK_BYTES: Final = 32 * 1024
UPSTREAM: Final = "pki"  # in the access log
_NOT_MODIFIED: Final = 304


class PublicationConnection(ChallengeConnection):
    """One plain HTTP connection with one answer from the publisher."""

    __slots__ = (
        "_answer",
        "_asked_seconds",
        "_body",
        "_is_replied",
        "_is_write_paused",
        "_publisher_request",
        "_question",
        "_sent_bytes",
    )

    def __init__(self, service: Service, listener: Listener) -> None:
        super().__init__(service, listener)
        self._body: BodyReader | None = None  # of a request that is not complete yet
        self._question = b""
        self._publisher_request: PublisherRequest | None = None
        self._answer: Body | None = None  # that is being sent to the client
        self._sent_bytes = 0  # of it
        self._asked_seconds = 0.0  # when the publisher was asked, monotonic
        self._is_replied = False
        self._is_write_paused = False

    def on_request(self, head: RequestHead, rest: bytes) -> None:
        """Answer the request, or ask the publisher. Raises `RequestError`."""
        wanted = read_target(head.method, head.target)
        if wanted is None:
            super().on_request(head, rest)
            return
        is_posted = wanted.kind is Kind.OCSP and wanted.request is None
        if is_posted:
            check_body_type(value_of(head.passing, b"content-type"))
        self._head = head
        self._record = self.begin(head)
        if is_posted:
            self._begin_body(head, rest)
        else:
            self._ask(wanted)

    # the question

    def on_more(self, data: bytes) -> None:
        """Process bytes after the request's head."""
        if self._body is None:
            super().on_more(data)
            return
        try:
            self._feed(self._body, data)
        except RequestError as error:
            self.refuse(self._head, error)

    def _begin_body(self, head: RequestHead, rest: bytes) -> None:
        if (head.content_length or 0) > MAX_OCSP_REQUEST_BYTES:
            raise _too_long()
        if head.expects_continue and not rest:
            self.send([Interim(100, b"Continue", ())])
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
            self._is_sending = False
            self._ask(Wanted(Kind.OCSP, request=self._question))

    def _ask(self, wanted: Wanted) -> None:
        if (publisher := self._service.publisher) is None:
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
        self.deadline = self._asked_seconds + ANSWER_SECONDS
        self._publisher_request = publisher.ask(question, self)

    # the answer

    def on_reply(self, reply: Reply, body: Body) -> None:
        """Send the head of the answer, which begins now."""
        record = cast("AccessRecord", self._record)
        self._is_replied = True
        self._publisher_request, self._answer = None, body
        self._renew_deadline()
        self._note_publisher(record)
        record.status = record.upstream_status = reply.status
        pairs = [*reply.fields]
        if reply.status != _NOT_MODIFIED:  # its length would mean another answer's (RFC 9110 8.6)
            pairs.append(("Content-Length", f"{reply.length_bytes}"))
        pairs.append(("X-Request-Id", f"{record.request_id}"))
        parts = fields((name.encode("ascii"), value.encode("ascii")) for name, value in pairs)
        self.send([Head(reply.status, None, parts, is_sized=True, may_keep_alive=False)])
        self.on_body()

    def on_body(self) -> None:
        """Send more of the body, as long as the client reads."""
        answer, record = cast("Body", self._answer), cast("AccessRecord", self._record)
        while not self._is_write_paused and (data := answer.part(self._sent_bytes, CHUNK_BYTES)):
            self._sent_bytes += len(data)
            record.bytes_out = self._sent_bytes
            self._transport.write(data)
            self._renew_deadline()
        if self._sent_bytes == answer.length_bytes:
            self._leave_answer()
            self._record = None
            self.end(record)
            if not self._is_sending:  # the client may still have to read the last part
                self._renew_deadline()

    def on_failure(self, error: RequestError) -> None:
        """The publisher failed: refuse, or abort an answer that has begun."""
        self._publisher_request = self._answer = None
        record = cast("AccessRecord", self._record)
        if self._is_replied:
            self._break_off(record, error)
        else:
            self._note_publisher(record)
            self.refuse(self._head, error)

    def _leave_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.leave(self)

    def refuse(self, head: RequestHead | None, error: RequestError, record: AccessRecord | None = None) -> None:
        """Answer with a refusal."""
        self._body = None
        super().refuse(head, error, record)

    def _break_off(self, record: AccessRecord, error: RequestError) -> None:
        """Abort, so that the client notices that the answer is incomplete."""
        self._record = None
        record.refused(error.reason, error.cause)
        self.end(record)
        self._transport.abort()

    def _note_publisher(self, record: AccessRecord) -> None:
        record.upstream = UPSTREAM
        record.upstream_ms = (clock.monotonic_seconds() - self._asked_seconds) * 1000
        record.bytes_in = len(self._question)

    # the client's pace

    def pause_writing(self) -> None:
        """Stop sending: the client reads slowly."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Continue sending."""
        self._is_write_paused = False
        if self._answer is not None:
            self._renew_deadline()
            self.on_body()

    def _renew_deadline(self) -> None:
        if not self._is_write_paused:
            idle_seconds = self._service.snapshot.config.limits.transfer_idle_seconds
            until_seconds = self._asked_seconds + TRANSFER_SECONDS
            self.deadline = min(clock.monotonic_seconds() + idle_seconds, until_seconds)

    # the end

    def on_deadline(self) -> None:
        """End: the request or the publisher's answer did not arrive in time, or the client did not read the answer."""
        publisher_request, record = self._publisher_request, self._record
        self._drop_publisher_request()
        if record is None or self._reading is not None:
            super().on_deadline()
        elif self._is_replied:
            self._break_off(record, RequestError(Reason.REQUEST_TIMEOUT, "the client did not take the answer in time"))
        elif publisher_request is None:
            self.refuse(self._head, RequestError(Reason.REQUEST_TIMEOUT, "the OCSP request did not arrive in time"))
        else:
            self._note_publisher(record)
            cause = f"the publisher did not answer within {ANSWER_SECONDS:g} s"
            self.refuse(self._head, RequestError(Reason.NO_HEALTHY_UPSTREAM, cause))

    def eof_received(self) -> bool:
        """The client sends no more; True if an answer is still due."""
        return self._publisher_request is not None or self._answer is not None or super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client's connection is closed."""
        self._drop_publisher_request()
        super().connection_lost(exc)

    def _drop_publisher_request(self) -> None:
        publisher_request, self._publisher_request = self._publisher_request, None
        if publisher_request is not None:
            publisher_request.drop()
        self._leave_answer()


def _too_long() -> RequestError:
    return RequestError(Reason.BODY_TOO_LARGE, f"an OCSP request has at most {MAX_OCSP_REQUEST_BYTES} bytes")
