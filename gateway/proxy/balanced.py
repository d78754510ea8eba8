"""Finds the client of an accepted socket: the TCP peer, or the client that a balancer names.

Keeps true: a listener with `proxy_protocol_from` accepts data only from the listed peers, and from them nothing before
a complete and correct PROXY header. The header is read once, so a client can't send another one. A connection counts
for its client's address, not for the balancer's, which has thousands of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.facts import Peer, parse_address
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.policy.networks import NetworkSet
from gateway.proxy.service import Service
from gateway.proxy.snapshot import Snapshot
from gateway.tls.proxy_protocol import Header, ProxyProtocolError, parse


def peer_of(transport: asyncio.BaseTransport, listener: Listener) -> Peer | None:
    """The TCP peer; None if it has already disconnected."""
    name = transport.get_extra_info("peername")
    return Peer(parse_address(name[0]), name[1], listener.address) if name else None


class Accepting(Protocol):
    """The protocol of a connection whose client is known."""

    def accepted(self, transport: asyncio.Transport, peer: Peer) -> None:
        """Begin."""

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client."""


class BalancedConnection(asyncio.Protocol):
    """Handles an accepted socket until its PROXY header is read; then passes it to the protocol that `make` returns."""

    __slots__ = ("_balancers", "_held", "_listener", "_make", "_peer", "_service", "_transport", "deadline")

    def __init__(
        self,
        service: Service,
        listener: Listener,
        balancers: NetworkSet,
        make: Callable[[], Accepting],
    ) -> None:
        self._service = service
        self._listener = listener
        self._balancers = balancers
        self._make = make
        self._held = b""
        self._peer: Peer | None = None
        self.deadline = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = peer = peer_of(transport, self._listener)
        if peer is None:
            self._transport.abort()
            return
        is_admitted = self._service.connections.admit(None, self._service.snapshot.config.limits)
        self._service.connections.opened(self, None)
        if not self._balancers.contains(peer.address):
            self._fail("the peer is not in proxy_protocol_from")
        elif is_admitted is None:
            self._fail("too many connections")
        else:
            limits = self._service.snapshot.config.limits
            self.deadline = clock.monotonic_seconds() + limits.handshake_seconds

    def data_received(self, data: bytes) -> None:
        """Process bytes of the header, and possibly bytes after it."""
        if self._transport.is_closing():
            return
        self._held += data
        try:
            found = parse(self._held)
        except ProxyProtocolError as error:
            self._fail(error.cause)
            return
        if found is not None:
            header, length = found
            self._hand_over(header, self._held[length:])

    def _hand_over(self, header: Header, rest: bytes) -> None:
        """Pass the connection on, as if the client had connected without a balancer."""
        peer = cast("Peer", self._peer)
        if header.client is not None:
            peer = Peer(header.client.address, header.client.port, peer.listener, header.local)
        connection = self._make()
        self._service.connections.closed(self, None)  # before the client's limits are checked
        self._transport.set_protocol(cast("asyncio.Protocol", connection))
        connection.accepted(self._transport, peer)
        if rest:
            connection.data_received(rest)

    def _fail(self, cause: str) -> None:
        self._log(cause)
        self._held = b""
        self.deadline = float("inf")
        self._transport.abort()

    def _log(self, cause: str) -> None:
        fields = ConnectionFields.of_peer(cast("Peer", self._peer), self._service.snapshot.config.digest)
        record = AccessRecord(fields, clock.unix_seconds(), None)
        record.refused(cause, cause)
        self._service.log(record)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The socket was closed before the client was known."""
        if self._held:
            self._log("the connection ended in the middle of its PROXY header")
        if self._peer is not None:
            self._service.connections.closed(self, None)

    def on_deadline(self) -> None:
        """Close: the header did not arrive in time."""
        self._fail("no PROXY header within the handshake time")

    def adopt(self, snapshot: Snapshot) -> None:
        """Do nothing: `proxy_protocol_from` can't change while the gateway runs."""

    def drain(self) -> None:
        """Close at once: no request is under way."""
        self.cut()

    def cut(self) -> None:
        """Close at once."""
        self._held = b""
        self._transport.abort()
