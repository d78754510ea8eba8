"""Carries raw bytes in both directions after a 101.

Keeps true: neither side is read faster than the other is written. If a side closes its direction, all its data is still
delivered, and the other direction continues. If both are silent for the upstream's response time, the tunnel ends. It
has one access record.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway import clock
from gateway.errors import RequestError
from gateway.http.fields import Fields
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord
from gateway.proxy.ports import Downstream
from gateway.proxy.upstream.connection import UpstreamConnection


class Tunnel:
    """A connection that no longer carries HTTP, for example a WebSocket (RFC 6455)."""

    __slots__ = (
        "_bytes_in",
        "_client",
        "_idle_seconds",
        "_is_client_done",
        "_is_done",
        "_is_upstream_done",
        "_upstream",
        "bytes_out",
        "head",
        "record",
    )

    # As `Exchange.takes_body`; a tunnel takes every byte.
    takes_body = True

    def __init__(
        self,
        client: Downstream[UpstreamConnection],
        upstream: UpstreamConnection,
        head: RequestHead,
        record: AccessRecord,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self.head = head
        self.record = record
        self._idle_seconds = upstream.pool.upstream.timeouts.response_seconds
        self._bytes_in = self.bytes_out = 0
        self._is_client_done = self._is_upstream_done = self._is_done = False
        upstream.exchange = self
        self._stir()

    def __repr__(self) -> str:
        return f"<Tunnel {self.record.uri!r} in={self._bytes_in} out={self.bytes_out}>"

    def _stir(self) -> None:
        self._client.deadline = clock.monotonic_seconds() + self._idle_seconds

    def _watch(self) -> None:
        """Set the deadline while the upstream reads: it is not silent as long as it reads."""
        self._client.deadline = self._upstream.watch_progress(clock.monotonic_seconds(), self._idle_seconds)

    def request_data(self, data: bytes) -> bytes:
        """Forward bytes from the client."""
        self._bytes_in += len(data)
        upstream = self._upstream
        upstream.transport.write(data)
        if upstream.is_write_paused:
            self._watch()
        else:
            self._stir()
        return b""

    def request_end(self, trailers: Fields) -> None:  # noqa: ARG002 - a tunnel has no trailers
        """The client sends no more."""
        self.client_eof()

    def upstream_data(self, data: bytes) -> None:
        """Forward bytes from the upstream."""
        self.bytes_out += len(data)
        self._client.write(data)
        self._stir()

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""
        self._client.wait_turn(go_on)

    def client_eof(self) -> bool:
        """The client sends no more: close this direction. True: keep its connection until the upstream ends."""
        self._is_client_done = True
        transport = self._upstream.transport
        self._watch()
        if self._is_upstream_done or not transport.can_write_eof():  # uvloop's TLS can't close only one direction
            transport.close()  # after everything is written; `upstream_lost` follows
        else:
            transport.write_eof()
        return True

    def upstream_eof(self) -> bool:
        """The upstream sends no more: close this direction. True to keep its connection for the client's data.

        False: it is closed after the client's data is written, and `upstream_lost` follows.
        """
        self._is_upstream_done = True
        self._client.write_eof()
        return not self._is_client_done

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is closed: end the tunnel."""
        if self._is_done:
            return
        self._log()
        if error is None:
            self._client.close_after_tunnel()
        else:
            self._client.abort_exchange()

    def pause_request(self) -> None:
        """The upstream reads slowly: pause the client."""
        self._client.pause_reading()
        self._watch()

    def resume_request(self) -> None:
        """The upstream has caught up, except for data in the kernel: continue reading from the client."""
        self._client.resume_reading()
        self._watch()

    def pause_response(self) -> None:
        """The client reads slowly: pause the upstream."""
        self._upstream.pause_reading()

    def resume_response(self) -> None:
        """The client has caught up: continue reading from the upstream. The client's reading ends the silence."""
        self._stir()
        self._upstream.resume_reading()

    def client_gone(self) -> None:
        """The client's connection is closed: end the tunnel."""
        if not self._is_done:
            self._log()
            self._upstream.discard()

    def fail(self, error: RequestError) -> None:
        """Abort both connections: the rules or the certificate no longer allow the tunnel."""
        if self._is_done:
            return
        self.record.refused(error.reason, error.cause)
        self._log()
        self._upstream.discard()
        self._client.abort_exchange()

    def on_deadline(self) -> None:
        """End after silence, unless a slow side is still reading earlier data."""
        if self._is_done:
            return
        client, now = self._client, clock.monotonic_seconds()
        if client.is_write_paused and client.takes_more():
            self._stir()
        elif (next_look := self._upstream.next_look(now, self._idle_seconds)) > now:
            client.deadline = next_look
        else:
            self._end()

    def _end(self) -> None:
        self._log()
        self._upstream.discard()
        self._client.close_after_tunnel()

    def _log(self) -> None:
        self._is_done = True
        self.record.bytes_in = self._bytes_in
        self.record.bytes_out = self.bytes_out
        self._client.log(self.record)
