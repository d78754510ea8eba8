"""After a 101: two raw streams, each way as it comes.

Keeps true: neither side is read faster than the other is written; a side that says it is done is half
closed and the other goes on, and all that it said arrives; silence of both for the upstream's response time ends it;
one access record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway import clock
from gateway.errors import RequestError

if TYPE_CHECKING:
    from gateway.http.http1 import RequestHead
    from gateway.logs.record import AccessRecord
    from gateway.proxy.connection import ClientConnection
    from gateway.proxy.upstream import UpstreamConnection


class Tunnel:
    """A connection that speaks something else than HTTP now: a WebSocket (RFC 6455), say."""

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

    # What the connection asks of whatever is under way on it; a tunnel takes every byte.
    takes_body = True

    def __init__(
        self, client: ClientConnection, upstream: UpstreamConnection, head: RequestHead, record: AccessRecord
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
        """The upstream has much to take, and is not silent while it takes it."""
        self._client.deadline = self._upstream.watch_uptake(clock.monotonic_seconds(), self._idle_seconds)

    def request_data(self, data: bytes) -> bytes:
        """Bytes from the client; all of them go on."""
        self._bytes_in += len(data)
        upstream = self._upstream
        upstream.transport.write(data)
        if upstream.is_write_paused:
            self._watch()
        else:
            self._stir()
        return b""

    def upstream_data(self, data: bytes) -> None:
        """Bytes from the upstream."""
        self.bytes_out += len(data)
        self._client.write(data)
        self._stir()

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when other clients have been served."""
        self._client.wait_turn(go_on)

    def client_eof(self) -> bool:
        """The client has said all; True: its connection is kept until the upstream has had that, and said the rest."""
        self._is_client_done = True
        transport = self._upstream.transport
        self._watch()
        if self._is_upstream_done or not transport.can_write_eof():  # uvloop's TLS can't close one direction alone
            transport.close()  # when all is written; `upstream_lost` follows
        else:
            transport.write_eof()
        return True

    def upstream_eof(self) -> bool:
        """The upstream has said all; True to keep its connection for what the client still says.

        False: it is closed when all that the client said is written, and `upstream_lost` follows.
        """
        self._is_upstream_done = True
        self._client.write_eof()
        return not self._is_client_done

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""
        if self._is_done:
            return
        self._log()
        if error is None:
            self._client.close_after_tunnel()
        else:
            self._client.abort_exchange()

    def pause_request(self) -> None:
        """The upstream reads slowly."""
        self._client.pause_reading()
        self._watch()

    def resume_request(self) -> None:
        """The upstream has caught up, but for what the kernel has for it."""
        self._client.resume_reading()
        self._watch()

    def pause_response(self) -> None:
        """The client reads slowly."""
        self._upstream.pause_reading()

    def resume_response(self) -> None:
        """The client has caught up."""
        self._upstream.resume_reading()

    def client_gone(self) -> None:
        """The client's connection is gone."""
        if not self._is_done:
            self._log()
            self._upstream.discard()

    def fail(self, error: RequestError) -> None:
        """Cut it, both ways: the rules or the certificate no longer let it through."""
        if self._is_done:
            return
        self.record.refused(error.reason, error.cause)
        self._log()
        self._upstream.discard()
        self._client.abort_exchange()

    def on_deadline(self) -> None:
        """Nobody said anything for too long, unless a side that reads slowly still takes what was said before."""
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
