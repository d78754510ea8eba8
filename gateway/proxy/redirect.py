"""Plain HTTP on a listener with `redirect_to_https`: answers 308 and nothing else.

Keeps true: it sends nobody to a host that is not one of the sites (no open redirect), and to nothing but
the normalised path; every connection ends with its answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.errors import RequestError
from gateway.facts import STATUS_OF_REASON, Peer, Reason
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.logs.record import ConnectionFields
from gateway.policy.hosts import normalise_host
from gateway.policy.uri import normalise
from gateway.proxy.peers import peer_of
from gateway.proxy.records import begin_record, finish_record
from gateway.proxy.snapshot import Snapshot

if TYPE_CHECKING:
    from gateway.proxy.service import Service


class RedirectConnection(asyncio.Protocol):
    """One plain connection, one answer."""

    __slots__ = ("_held", "_listener", "_peer", "_service", "_transport", "deadline")

    def __init__(self, service: Service, listener: Listener) -> None:
        self._service = service
        self._listener = listener
        self._held = b""
        self._peer: Peer | None = None
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
            self._answer(None, RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections"))

    def data_received(self, data: bytes) -> None:
        """Bytes of the request."""
        if self._transport.is_closing():
            return
        self._held += data
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
            self._answer(head, self._location(head))
        except RequestError as error:
            self._answer(head, error)

    def _location(self, head: RequestHead) -> str:
        host = normalise_host((head.host or b"").decode("latin-1"))
        if self._service.snapshot.sites.find(host) is None:
            raise RequestError(Reason.HOST_MISMATCH, f"there is no site {host}")
        target = normalise(head.target)
        return f"https://{host}{target.path}{'' if target.query is None else '?' + target.query}"

    def _answer(self, head: RequestHead | None, outcome: str | RequestError) -> None:
        peer = cast("Peer", self._peer)
        record = begin_record(ConnectionFields.of_peer(peer), head)
        if isinstance(outcome, str):
            record.status = 308
            lines = ["HTTP/1.1 308 Permanent Redirect", f"Location: {outcome}"]
        else:
            record.status = STATUS_OF_REASON[outcome.reason]
            record.reason = outcome.reason
            lines = [f"HTTP/1.1 {record.status} Refused", f"X-Gateway-Reason: {outcome.reason}"]
        lines += [f"X-Request-Id: {record.request_id}", "Content-Length: 0", "Connection: close", "", ""]
        self._transport.write("\r\n".join(lines).encode("latin-1"))
        record.bytes_in = record.bytes_out = 0
        finish_record(record)
        self._service.log(record)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client is gone."""
        if self._peer is not None:
            self._service.closed(self, self._peer.address)

    def on_deadline(self) -> None:
        """The request did not come in time."""
        self._transport.abort()

    def adopt(self, snapshot: Snapshot) -> None:
        """The answer, when the request is complete, follows what counts then."""

    def drain(self) -> None:
        """Nothing here lasts."""
        self._transport.close()

    def cut(self) -> None:
        """Close at once."""
        self._transport.abort()
