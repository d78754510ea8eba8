"""A connection to a plain HTTP listener: one request, one answer by the first responder that has one, then the end.

Keeps true: a request is answered only when its head is complete; data after it is never read as another request; a
client that is still sending gets time to read the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.errors import RequestError
from gateway.facts import NO_CERTIFICATE, Peer, Reason
from gateway.http.events import Event
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.http.http1_writer import Http1Writer
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.proxy.balanced import peer_of
from gateway.proxy.lingering import Lingering
from gateway.proxy.records import begin_record, finish_record
from gateway.proxy.refusal import refusal_events
from gateway.proxy.service import Service
from gateway.proxy.snapshot import Snapshot

# Limit for data after a request that is not answered yet.
MAX_UNWANTED_BYTES: Final = 256 * 1024


class Pending(Protocol):
    """An answer that takes time."""

    @property
    def takes_body(self) -> bool:
        """True if the request's body is needed and not complete."""

    @property
    def is_due(self) -> bool:
        """True if the answer will come although the client sends no more."""

    def on_data(self, data: bytes) -> None:
        """Process bytes of the request's body. Raises `RequestError`."""

    def on_resumed(self) -> None:
        """The client, which read slowly, has caught up."""

    def on_deadline(self) -> None:
        """The connection's deadline has passed: end."""

    def drop(self) -> None:
        """The connection is closed."""


class Responder(Protocol):
    """Answers some of the requests."""

    def respond(self, connection: PlainConnection, head: RequestHead, rest: bytes) -> bool:
        """Answer a request, now or later; False if another responder has to. Raises `RequestError`.

        `rest`: the part of its body that has arrived.
        """


class PlainConnection(asyncio.Protocol):
    """One connection with one request."""

    __slots__ = (
        "_head",
        "_held",
        "_is_heard",
        "_lingering",
        "_listener",
        "_peer",
        "_pending",
        "_record",
        "_responders",
        "_transport",
        "_unwanted_bytes",
        "deadline",
        "is_sending",
        "is_write_paused",
        "service",
    )

    def __init__(self, service: Service, listener: Listener, responders: Sequence[Responder]) -> None:
        self.service = service
        self._listener = listener
        self._responders = responders
        self._held = b""
        self._is_heard = False  # input was received, valid or not
        self.is_sending = False  # the client probably sends more
        self.is_write_paused = False  # the client reads slowly
        self._head: RequestHead | None = None
        self._pending: Pending | None = None
        self._record: AccessRecord | None = None  # of a request whose answer is pending
        self._lingering: Lingering | None = None
        self._unwanted_bytes = 0
        self._peer: Peer | None = None
        self._transport: asyncio.Transport
        self.deadline = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        peer = peer_of(transport, self._listener)
        if peer is None:
            cast("asyncio.Transport", transport).abort()
        else:
            self.accepted(cast("asyncio.Transport", transport), peer)

    def accepted(self, transport: asyncio.Transport, peer: Peer) -> None:
        """Begin, with a known client."""
        self._transport = transport
        self._peer = peer
        is_admitted = self.service.connections.admit(peer.address, self.service.snapshot.config.limits)
        self.service.connections.opened(self, peer.address)
        self.deadline = clock.monotonic_seconds() + self.service.snapshot.config.limits.header_time_seconds
        if not is_admitted:
            self.refuse(RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections"))

    def data_received(self, data: bytes) -> None:
        """Process bytes of the request."""
        if self._transport.is_closing():
            return
        if self._lingering is not None:
            self._discard(self._lingering, len(data))
            return
        if self._is_heard:
            self._more(data)
            return
        self._held += data
        self.is_sending = True
        limits = self.service.snapshot.config.limits
        try:
            end = self._held.find(END_OF_HEAD)
            if end < 0:
                check_unfinished(self._held, uri_bytes=limits.uri_bytes, header_bytes=limits.header_bytes)
                return
            self._head = head = parse_request(
                self._held,
                end,
                self.service.snapshot.classify,
                uri_bytes=limits.uri_bytes,
                headers=limits.headers,
                header_bytes=limits.header_bytes,
            )
            rest, self._held = self._held[end + len(END_OF_HEAD) :], b""
            self._is_heard = True
            self.is_sending = head.is_chunked or (head.content_length or 0) > len(rest)
            self._respond(head, rest)
        except RequestError as error:
            self.refuse(error)

    def _respond(self, head: RequestHead, rest: bytes) -> None:
        for responder in self._responders:
            if responder.respond(self, head, rest):
                return
        raise RequestError(Reason.NOT_FOUND, "this listener serves only addresses below /.well-known/gateway/")

    def _more(self, data: bytes) -> None:
        """Process bytes after the request's head: abort above `MAX_UNWANTED_BYTES` that no answer needs."""
        if self._pending is not None and self._pending.takes_body:
            try:
                self._pending.on_data(data)
            except RequestError as error:
                self.refuse(error)
            return
        self._unwanted_bytes += len(data)
        if self._unwanted_bytes > MAX_UNWANTED_BYTES:
            self._transport.abort()

    # answers

    def begin(self) -> AccessRecord:
        """Begin the access record of the request."""
        digest = self.service.snapshot.config.digest
        return begin_record(ConnectionFields.of_peer(cast("Peer", self._peer), digest), self._head)

    def wait_for(self, pending: Pending) -> AccessRecord:
        """Leave the answer to `pending`, which calls `end` or `refuse`; returns the access record."""
        self._pending = pending
        self._record = record = self.begin()
        return record

    def refuse(self, error: RequestError) -> None:
        """Answer with a refusal."""
        record = self._record or self.begin()
        pages = self.service.snapshot.pages
        self.send(refusal_events(pages, error, self._head, NO_CERTIFICATE, record, is_closing=True))
        self.end(record)

    def send(self, events: Iterable[Event]) -> None:
        """Send an answer, or its head, after which the connection ends."""
        self.write(Http1Writer().write(events))

    def write(self, data: bytes) -> None:
        """Send more of an answer's body."""
        self._transport.write(data)

    def end(self, record: AccessRecord) -> None:
        """Log the answer and close; a client that is still sending gets time to read it."""
        self._is_heard = True
        self._held = b""
        self._pending = self._record = None
        record.bytes_in = record.bytes_in or 0
        record.bytes_out = record.bytes_out or 0
        finish_record(record)
        self.service.log(record)
        if self.is_sending:
            self._lingering = Lingering(clock.monotonic_seconds(), is_brief=self.service.connections.is_draining)
            self._transport.write_eof()
            self.deadline = self._lingering.deadline
        else:
            self._transport.close()

    def break_off(self, record: AccessRecord, error: RequestError) -> None:
        """Abort, so that the client notices that the answer is incomplete."""
        record.refused(error.reason, error.cause)
        self.end(record)
        self._transport.abort()

    def _discard(self, lingering: Lingering, count: int) -> None:
        if lingering.discards(count, clock.monotonic_seconds()):
            self.deadline = lingering.deadline
        else:
            self._transport.abort()

    # the client's pace

    def pause_writing(self) -> None:
        """Stop sending: the client reads slowly."""
        self.is_write_paused = True

    def resume_writing(self) -> None:
        """Continue sending."""
        self.is_write_paused = False
        if self._pending is not None:
            self._pending.on_resumed()

    # the end

    def eof_received(self) -> bool:
        """The client sends no more; True if an answer is still due."""
        return self._pending is not None and self._pending.is_due

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client's connection is closed."""
        pending, self._pending = self._pending, None
        record, self._record = self._record, None
        if pending is not None:
            pending.drop()
        if record is not None:
            finish_record(record)
            self.service.log(record)
        if self._peer is not None:
            self.service.connections.closed(self, self._peer.address)

    def on_deadline(self) -> None:
        """End: request or answer did not arrive in time, or the client did not read the answer."""
        if self._pending is not None:
            self._pending.on_deadline()
            return
        if not self._held:
            self._transport.abort()
            return
        seconds = self.service.snapshot.config.limits.header_time_seconds
        cause = f"the request was not complete within {seconds:g} s"
        self.refuse(RequestError(Reason.REQUEST_TIMEOUT, cause))

    def adopt(self, snapshot: Snapshot) -> None:
        """Do nothing: the request will use the current snapshot."""

    def drain(self) -> None:
        """Close, unless an answer is still due, or shorten the lingering."""
        if self._record is not None:
            return
        if self._lingering is None:
            self._transport.close()
        else:
            self._lingering.shorten(clock.monotonic_seconds())
            self.deadline = self._lingering.deadline

    def cut(self) -> None:
        """Close at once."""
        self._transport.abort()
