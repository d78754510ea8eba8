"""What the proxy's packages ask of each other: three interfaces between two connections and the work between them.

A client's connection gives each request to some work: a wait, an exchange, then perhaps a tunnel. The work does
everything on the client's side through `Downstream`. An upstream connection tells its user what happens through
`UpstreamUser`. HTTP/2 needs another connection to the client, not another exchange.

Keeps true: imports between the packages go one way: `client` knows `exchange`, `exchange` knows `upstream`, never back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.errors import RequestError
from gateway.http.body import BodyReader
from gateway.http.events import Event
from gateway.http.fields import Fields
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord
from gateway.proxy.limits.kept_bodies import KeptBodies
from gateway.proxy.snapshot import Snapshot

_Upstream = TypeVar("_Upstream")  # the class of connections to servers, which these interfaces don't know


class Work(Protocol):
    """What a client's connection asks of the work under way: `Exchange`, `Tunnel`, `StatusWait` and `RateWait`."""

    head: RequestHead
    record: AccessRecord

    @property
    def takes_body(self) -> bool:
        """True if bytes from the client can be given to `request_data`."""

    @property
    def bytes_out(self) -> int:
        """About how many bytes were sent to the client; it grows with every part."""

    def request_data(self, data: bytes) -> bytes:
        """Take bytes from the client; returns those that were not taken."""

    def request_end(self, trailers: Fields) -> None:
        """The request has ended; all of its bytes were taken. Only over HTTP/2: over HTTP/1.1 the bytes tell it.

        Work that does not take the body now ignores it; the connection tells it again with the rest of the body.
        """

    def client_eof(self) -> bool:
        """The client sends no more; True if it may be waiting for an answer."""

    def client_gone(self) -> None:
        """The client's connection is closed: end."""

    def pause_response(self) -> None:
        """The client reads slowly: send no more."""

    def resume_response(self) -> None:
        """The client has caught up: continue."""

    def on_deadline(self) -> None:
        """The client's deadline has passed: wait longer, or end."""

    def fail(self, error: RequestError) -> None:
        """End: a reload or the certificate no longer allows the request."""


class Downstream(Protocol[_Upstream]):
    """What the work asks of its client's connection."""

    deadline: float  # on the monotonic clock; the work sets it while it is under way
    closes_after_exchange: bool
    carries_login: bool  # a login of the connection was sent on its own upstream connection
    pins: bool  # the upstream connection is for this client only
    pinned: _Upstream | None  # this client's own, idle between two requests
    is_write_paused: bool  # the client reads slowly

    @property
    def snapshot(self) -> Snapshot:
        """The current configuration, read once for a request."""

    @property
    def is_read_paused(self) -> bool:
        """True while reading is paused because the upstream is slow."""

    @property
    def kept_bodies(self) -> KeptBodies:
        """The bodies that the worker keeps for a retry."""

    # the request

    def feed_exchange(self) -> None:
        """The work can take the body now: hand over the part that has arrived."""

    def hold(self, data: bytes) -> None:
        """Keep data after a request's body until the exchange has ended."""

    def pause_reading(self) -> None:
        """Read no more: the upstream reads slowly."""

    def resume_reading(self) -> None:
        """Continue reading."""

    # the answer

    def may_keep_alive(self, head: RequestHead) -> bool:
        """True if another request may follow on this connection."""

    def send(self, events: list[Event]) -> None:
        """Send a part of the answer: head, data, trailers and end, as events."""

    def write(self, data: bytes) -> None:
        """Send bytes of a tunnel."""

    def write_eof(self) -> None:
        """Send no more: the tunnel's upstream has closed its direction."""

    def takes_more(self) -> bool:
        """True if a slow client has read enough since the last write or the last call of this method."""

    # turns

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""

    def catch_up(self) -> None:
        """Use the current snapshot now; this may refuse the request."""

    def waited(self, work: Work) -> None:
        """The wait has ended: judge the request again."""

    def tunnel(self, work: Work) -> None:
        """Carry a tunnel instead of HTTP from now on."""

    # the upstream connection that is this client's own

    def proxy_header(self) -> bytes:
        """The PROXY header that names this client to an upstream."""

    def owns_upstream(self, head: RequestHead | None, *, is_hidden: bool = False) -> None:
        """From now on only this client uses the upstream connection."""

    def pin(self, upstream: _Upstream, keep_alive_seconds: int | None, *, is_spent: bool) -> None:
        """Keep the upstream connection for this client only."""

    def unpin(self) -> None:
        """Close the client's own upstream connection; its login ends."""

    def pinned_lost(self) -> None:
        """The upstream has closed this client's own connection."""

    def note_failed_login(self, client_ip: str | None) -> None:
        """Count a login that the upstream refused."""

    # the end

    def log(self, record: AccessRecord) -> None:
        """Finish and log the record."""

    def release_buffers(self) -> None:
        """Free the buffers of a large transfer."""

    def exchange_done(self, unread_body: BodyReader | None) -> None:
        """The answer was sent completely. `unread_body`: reader of the rest of the request's body."""

    def refuse_exchange(self, error: RequestError, head: RequestHead, record: AccessRecord) -> None:
        """Answer the request with a refusal, and log it."""

    def close_unanswered(self, error: RequestError, record: AccessRecord) -> None:
        """Log the request, and close without an answer."""

    def abort_exchange(self) -> None:
        """The answer can't be completed: abort, so that the client notices."""

    def close_after_tunnel(self) -> None:
        """Close after the end of a tunnel."""


class UpstreamUser(Protocol):
    """What an upstream connection asks of the work that uses it: `Exchange` and `Tunnel`."""

    @property
    def takes_body(self) -> bool:
        """True if the request is not complete."""

    def upstream_data(self, data: bytes) -> None:
        """Take bytes from the server."""

    def upstream_eof(self) -> bool:
        """The server sends no more; True to keep the connection open."""

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection is closed."""

    def pause_request(self) -> None:
        """The server reads slowly: send no more."""

    def resume_request(self) -> None:
        """The server has caught up: continue."""

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""
