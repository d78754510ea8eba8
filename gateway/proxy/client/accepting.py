"""Reads the first bytes of a connection: which client, which site, and so which TLS context answers.

Keeps true: whether the client is asked for a certificate is decided by address and server name before TLS begins. Data
that is not TLS gets no further.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.facts import Peer, Reason, counted
from gateway.http.date import date_field
from gateway.http.events import END, Data, Head, field
from gateway.http.http1_writer import Http1Writer
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.logs.request_id import new_request_id
from gateway.proxy.balanced import peer_of
from gateway.proxy.client.http1 import Http1Connection
from gateway.proxy.client.http2 import Http2Connection
from gateway.proxy.lingering import Lingering
from gateway.proxy.service import Service
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.tls.alpn import HTTP_2, chosen_protocol
from gateway.tls.client_hello import (
    UNRECOGNIZED_NAME,
    ClientHello,
    ClientHelloError,
    ClientHelloReader,
    alert,
)
from gateway.tls.layer import TlsLayer

_HTTPS_ONLY: Final = b"This port speaks HTTPS only; use https:// in the address.\r\n"


class AcceptedConnection(asyncio.Protocol):
    """Handles an accepted socket until its ClientHello is read."""

    __slots__ = ("_is_admitted", "_lingering", "_listener", "_peer", "_reader", "_service", "_transport", "deadline")

    def __init__(self, service: Service, listener: Listener) -> None:
        self._service = service
        self._listener = listener
        self._reader = ClientHelloReader()
        self._peer: Peer | None = None
        self._is_admitted: bool | None = None
        self._lingering: Lingering | None = None  # after an answer to plain HTTP, or an alert
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
        limits = self._service.snapshot.config.limits
        self._is_admitted = self._service.connections.admit(peer.address, limits)
        self._service.connections.opened(self, peer.address)
        if self._is_admitted is None:
            self._fail("too many connections")
            return
        self.deadline = clock.monotonic_seconds() + limits.handshake_seconds

    def data_received(self, data: bytes) -> None:
        """Process bytes of the ClientHello."""
        if self._transport.is_closing():
            return
        if self._lingering is not None:
            self._discard(self._lingering, len(data))
            return
        try:
            hello = self._reader.feed(data)
        except ClientHelloError as error:
            if error.is_plain_http:
                self._answer_plain_http(error.cause)
            else:
                self._refuse(error.description, error.cause)
            return
        if hello is not None:
            self._wait_turn(cast("Peer", self._peer), hello)

    def _wait_turn(self, peer: Peer, hello: ClientHello) -> None:
        """Wait for a turn: a handshake costs a millisecond, and a client may begin hundreds at once."""
        self._transport.pause_reading()
        self._service.fair_queue.wait(counted(peer.address), lambda: self._hand_over(peer, hello))

    def _hand_over(self, peer: Peer, hello: ClientHello) -> None:
        """Choose the context and start TLS with the bytes that have arrived."""
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        service = self._service
        snapshot = service.snapshot
        site: SiteState | None = snapshot.sites.find(hello.server_name)
        if site is None:
            self._transport.write(alert(UNRECOGNIZED_NAME))
            name = hello.server_name
            self._fail(f"no site has the host {name}" if name else "no server name, and no site has the host '*'")
            return
        if not service.handshakes.allows(peer.address, clock.monotonic_seconds()):
            self._fail("too many handshakes from this address")
            return
        # A trusted proxy may name any client, so the rules for its own address don't decide.
        address = None if snapshot.trusted_proxies.contains(peer.address) else peer.address
        is_asking = bool(site.tls.trust.anchors) and snapshot.engine.asks_for_certificate(
            address, hello.server_name, site.site.hosts
        )
        is_http2 = chosen_protocol(hello.alpn, site.tls.protocols) == HTTP_2
        connection = (Http2Connection if is_http2 else Http1Connection)(
            service,
            snapshot,
            site,
            peer,
            server_name=hello.server_name,
            public_port=self._public_port(peer),
            is_over_limit=not self._is_admitted,
        )
        tls = site.tls.connection(
            hello, asks=is_asking, may_resume=connection.admission.may_resume, unix_seconds=clock.unix_seconds()
        )
        layer = TlsLayer(tls, self._transport, connection)
        connection.secured_by(layer, is_asked=is_asking)
        connection.deadline = self.deadline  # the handshake's time began when the socket was accepted
        service.connections.replaced(self, connection)
        self._transport.set_protocol(layer)
        layer.data_received(bytes(self._reader.received))

    def _public_port(self, peer: Peer) -> int:
        """The port in the clients' URLs: the configured one, else the one that the client connected to."""
        listener = self._listener
        return listener.public_port or (listener.port if peer.reached is None else peer.reached.port)

    def _answer_plain_http(self, cause: str) -> None:
        """Answer plain HTTP with 400; the client may still be sending its request."""
        request_id, now = new_request_id(), clock.unix_seconds()
        self._log(cause, request_id)
        fields = (
            *date_field(now),
            *field(b"Content-Type", b"text/plain; charset=utf-8"),
            *field(b"Content-Length", b"%d" % len(_HTTPS_ONLY)),
            *field(b"X-Request-Id", request_id.encode("ascii")),
            *field(b"X-Gateway-Reason", Reason.BAD_REQUEST.encode("ascii")),
        )
        head = Head(400, None, fields, is_sized=True, may_keep_alive=False)
        self._transport.write(Http1Writer().write((head, Data(_HTTPS_ONLY), END)))
        self._linger(is_brief=self._service.connections.is_draining)

    def _refuse(self, description: int, cause: str) -> None:
        """Send an alert, and linger: if the client is still sending, a reset would destroy the alert."""
        self._log(cause)
        self._transport.write(alert(description))
        self._linger(is_brief=True)

    def _linger(self, *, is_brief: bool) -> None:
        self._reader = ClientHelloReader()
        self._transport.write_eof()
        self._lingering = Lingering(clock.monotonic_seconds(), is_brief=is_brief)
        self.deadline = self._lingering.deadline

    def _discard(self, lingering: Lingering, count: int) -> None:
        if lingering.discards(count, clock.monotonic_seconds()):
            self.deadline = lingering.deadline
        else:
            self._transport.abort()

    def _fail(self, cause: str) -> None:
        self._log(cause)
        self._reader = ClientHelloReader()
        self.deadline = float("inf")
        self._transport.close()

    def _log(self, cause: str, request_id: str | None = None) -> None:
        if self._peer is not None:
            fields = ConnectionFields.of_peer(self._peer, self._service.snapshot.config.digest)
            record = AccessRecord(fields, clock.unix_seconds(), request_id)
            record.refused(cause, cause)
            self._service.log(record)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The socket was closed before TLS began. A client that sent nothing only tested the port; not logged."""
        if self._reader.received:
            self._log("the connection ended in the middle of its ClientHello")
        if self._peer is not None:
            self._service.connections.closed(self, self._peer.address)

    def on_deadline(self) -> None:
        """Close: no ClientHello arrived in time, or the time to read the answer is over."""
        if self._lingering is None:
            self._fail("no ClientHello within the handshake time")
        self._transport.abort()

    def adopt(self, snapshot: Snapshot) -> None:
        """Do nothing: the ClientHello will use the current snapshot."""

    def drain(self) -> None:
        """Close at once: no request is under way."""
        self.cut()

    def cut(self) -> None:
        """Close at once."""
        self._transport.abort()
