"""A connection to a plain HTTP listener: one request, one answer, then it is closed.

Keeps true: a request is answered only when its head is complete; data after it is never read as another request; a
client that is still sending gets time to read the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, cast

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


class PlainConnection(asyncio.Protocol):
    """The base class of such connections; subclasses answer in `on_request`."""

    __slots__ = (
        "_held",
        "_is_heard",
        "_is_sending",
        "_lingering",
        "_listener",
        "_peer",
        "_service",
        "_transport",
        "_unwanted_bytes",
        "deadline",
    )

    def __init__(self, service: Service, listener: Listener) -> None:
        self._service = service
        self._listener = listener
        self._held = b""
        self._is_heard = False  # input was received, valid or not
        self._is_sending = False  # the client probably sends more
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
        is_admitted = self._service.admit(peer.address)
        self._service.opened(self, peer.address)
        self.deadline = clock.monotonic_seconds() + self._service.snapshot.config.limits.header_time_seconds
        if not is_admitted:
            self.refuse(None, RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections"))

    def data_received(self, data: bytes) -> None:
        """Process bytes of the request."""
        if self._transport.is_closing():
            return
        if self._lingering is not None:
            self._discard(self._lingering, len(data))
            return
        if self._is_heard:
            self.on_more(data)
            return
        self._held += data
        self._is_sending = True
        limits = self._service.snapshot.config.limits
        head = None
        try:
            end = self._held.find(END_OF_HEAD)
            if end < 0:
                check_unfinished(self._held, uri_bytes=limits.uri_bytes, header_bytes=limits.header_bytes)
                return
            head = parse_request(
                self._held,
                end,
                self._service.snapshot.classify,
                uri_bytes=limits.uri_bytes,
                headers=limits.headers,
                header_bytes=limits.header_bytes,
            )
            rest, self._held = self._held[end + len(END_OF_HEAD) :], b""
            self._is_heard = True
            self._is_sending = head.is_chunked or (head.content_length or 0) > len(rest)
            self.on_request(head, rest)
        except RequestError as error:
            self.refuse(head, error)

    def on_request(self, head: RequestHead, rest: bytes) -> None:
        """Answer a request; `rest`: the part of its body that has arrived. Raises `RequestError`."""
        raise NotImplementedError

    def on_more(self, data: bytes) -> None:
        """Process bytes after the request's head: abort above `MAX_UNWANTED_BYTES`."""
        self._unwanted_bytes += len(data)
        if self._unwanted_bytes > MAX_UNWANTED_BYTES:
            self._transport.abort()

    # answers

    def begin(self, head: RequestHead | None) -> AccessRecord:
        """Begin the access record of the request."""
        digest = self._service.snapshot.config.digest
        return begin_record(ConnectionFields.of_peer(cast("Peer", self._peer), digest), head)

    def refuse(self, head: RequestHead | None, error: RequestError, record: AccessRecord | None = None) -> None:
        """Answer with a refusal."""
        record = record or self.begin(head)
        pages = self._service.snapshot.pages
        self.send(refusal_events(pages, error, head, NO_CERTIFICATE, record, is_closing=True))
        self.end(record)

    def send(self, events: Iterable[Event]) -> None:
        """Send an answer, or its head, after which the connection ends."""
        self._transport.write(Http1Writer().write(events))

    def end(self, record: AccessRecord) -> None:
        """Log the answer and close; a client that is still sending gets time to read it."""
        self._is_heard = True
        self._held = b""
        record.bytes_in = record.bytes_in or 0
        record.bytes_out = record.bytes_out or 0
        finish_record(record)
        self._service.log(record)
        if self._is_sending:
            self._lingering = Lingering(clock.monotonic_seconds(), is_brief=self._service.is_draining)
            self._transport.write_eof()
            self.deadline = self._lingering.deadline
        else:
            self._transport.close()

    def _discard(self, lingering: Lingering, count: int) -> None:
        if lingering.discards(count, clock.monotonic_seconds()):
            self.deadline = lingering.deadline
        else:
            self._transport.abort()

    # the end

    def eof_received(self) -> bool:
        """The client sends no more; True if an answer is still due."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client's connection is closed."""
        if self._peer is not None:
            self._service.closed(self, self._peer.address)

    def on_deadline(self) -> None:
        """Refuse a request that did not arrive in time, or close because the answer was not read."""
        if not self._held:
            self._transport.abort()
            return
        seconds = self._service.snapshot.config.limits.header_time_seconds
        cause = f"the request was not complete within {seconds:g} s"
        self.refuse(None, RequestError(Reason.REQUEST_TIMEOUT, cause))

    def adopt(self, snapshot: Snapshot) -> None:
        """Do nothing: the request will use the current snapshot."""

    def drain(self) -> None:
        """Close, or shorten the lingering."""
        if self._lingering is None:
            self._transport.close()
        else:
            self._lingering.shorten(clock.monotonic_seconds())
            self.deadline = self._lingering.deadline

    def cut(self) -> None:
        """Close at once."""
        self._transport.abort()
