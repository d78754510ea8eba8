"""A connection of a plain HTTP listener: one request, one answer, and the end.

Keeps true: nothing is answered before the request's head is whole; after the answer nothing more is read as a request;
a client that is still sending when it is answered gets time to read the answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.errors import RequestError
from gateway.facts import NO_CERTIFICATE, Peer, Reason
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.proxy.lingering import Lingering
from gateway.proxy.peers import peer_of
from gateway.proxy.records import begin_record, finish_record
from gateway.proxy.refusal import write_refusal
from gateway.proxy.snapshot import Snapshot

if TYPE_CHECKING:
    from gateway.proxy.service import Service

# What a client may send behind its request before it is answered.
MAX_UNWANTED_BYTES: Final = 256 * 1024


class PlainConnection(asyncio.Protocol):
    """What such connections have in common; `on_request` says what a request is answered."""

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
        self._is_sending = False  # the client, as far as is known
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
        """It is known who connected."""
        self._transport = transport
        self._peer = peer
        is_admitted = self._service.admit(peer.address)
        self._service.opened(self, peer.address)
        self.deadline = clock.monotonic_seconds() + self._service.snapshot.config.limits.header_time_seconds
        if not is_admitted:
            self.refuse(None, RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections"))

    def data_received(self, data: bytes) -> None:
        """Bytes of the request."""
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
        """Answer a request; `rest` is what is there of its body. Raises `RequestError`."""
        raise NotImplementedError

    def on_more(self, data: bytes) -> None:
        """Bytes behind the request's head; whoever sends many more than anybody wants is cut."""
        self._unwanted_bytes += len(data)
        if self._unwanted_bytes > MAX_UNWANTED_BYTES:
            self._transport.abort()

    # answers

    def begin(self, head: RequestHead | None) -> AccessRecord:
        """A record of the request."""
        return begin_record(ConnectionFields.of_peer(cast("Peer", self._peer)), head)

    def refuse(self, head: RequestHead | None, error: RequestError, record: AccessRecord | None = None) -> None:
        """Say no."""
        record = record or self.begin(head)
        pages = self._service.snapshot.pages
        self._transport.write(write_refusal(pages, error, head, NO_CERTIFICATE, record, is_closing=True))
        self.end(record)

    def end(self, record: AccessRecord) -> None:
        """The answer is written: note it, and close; a client that is still sending has time to hear it."""
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
        """The client says no more; True where an answer is still due."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client is gone."""
        if self._peer is not None:
            self._service.closed(self, self._peer.address)

    def on_deadline(self) -> None:
        """The request did not come in time, or its answer was not read."""
        if not self._held:
            self._transport.abort()
            return
        seconds = self._service.snapshot.config.limits.header_time_seconds
        cause = f"the request was not complete within {seconds:g} s"
        self.refuse(None, RequestError(Reason.REQUEST_TIMEOUT, cause))

    def adopt(self, snapshot: Snapshot) -> None:
        """The answer, when the request is complete, follows what counts then."""

    def drain(self) -> None:
        """Nothing here lasts."""
        if self._lingering is None:
            self._transport.close()
        else:
            self._lingering.shorten(clock.monotonic_seconds())
            self.deadline = self._lingering.deadline

    def cut(self) -> None:
        """Close at once."""
        self._transport.abort()
