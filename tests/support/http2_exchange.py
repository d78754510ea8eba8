"""A request over HTTP/2 in a dialogue: the exchange and its upstream are real, and the stream has no frames.

stream = RequestStream(world, http2_request("POST", has_body=True))
server = world.accepts()
stream.says(b"abc")
stream.ends()
assert server.hears().endswith(b"3\r\nabc\r\n0\r\n\r\n")
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import sha1
from ipaddress import ip_address
from typing import Any

from support.dialogue import HOST, INSIDE, World, header

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Peer
from gateway.http.body import BodyReader
from gateway.http.events import Event
from gateway.http.fields import Fields
from gateway.http.http1 import RequestHead
from gateway.http.http2_head import request_head
from gateway.http.http2_requests import Request, read_request
from gateway.logs.record import AccessRecord
from gateway.proxy.exchange.admission import Admission
from gateway.proxy.exchange.exchange import Exchange
from gateway.proxy.limits.kept_bodies import KeptBodies
from gateway.proxy.ports import Work
from gateway.proxy.records import begin_record
from gateway.proxy.upstream.connection import UpstreamConnection


def http2_request(
    method: str = "GET",
    path: str = "/webmail",
    *fields: tuple[bytes, bytes],
    has_body: bool = False,
    protocol: bytes | None = None,
) -> Request:
    """A request as the connection reads it."""
    listed = [
        (b":method", method.encode()),
        (b":scheme", b"https"),
        (b":authority", HOST.encode()),
        (b":path", path.encode()),
    ]
    if protocol is not None:
        listed.append((b":protocol", protocol))
    return read_request(1, [*listed, *fields], has_body=has_body, uri_bytes=8192)


def switching(request: bytes, *more: str, name: str = "Sec-WebSocket-Accept") -> bytes:
    """The 101 of a WebSocket server (RFC 6455 4.2.2)."""
    key = (header(request, "Sec-WebSocket-Key") or "").encode()
    digest = sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    accept = base64.b64encode(digest).decode()
    lines = ["Connection: Upgrade", "Upgrade: websocket", f"{name}: {accept}", *more]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode()


class RequestStream:
    """The client's side of one exchange (`ports.Downstream`)."""

    def __init__(self, world: World, request: Request) -> None:
        self.world = world
        self.snapshot = snapshot = world.service.snapshot
        self.kept_bodies: KeptBodies = world.service.kept_bodies
        self.deadline = 0.0
        self.closes_after_exchange = self.carries_login = self.pins = False
        self.is_write_paused = self.is_read_paused = self.is_done = self.was_aborted = False
        self.pinned: UpstreamConnection | None = None
        self.events: list[Event] = []
        self.records: list[AccessRecord] = []
        self.refused: RequestError | None = None
        self.tunnelled = b""
        self.has_tunnel_ended = False
        self._held = b""
        self._end: Fields | None = None  # the trailers of a request that has ended
        site = snapshot.sites.find(HOST)
        assert site is not None
        peer = Peer(ip_address(INSIDE), 50000, "127.0.0.1:443")
        admission = Admission(snapshot, site, peer, 443, world.service.statuses)
        admission.judge(clock.now())
        head = request_head(request, snapshot.classify, headers=100)
        record = begin_record(admission.fields, head)
        admitted = admission.admit(head, record)
        self.work: Work | None = None
        self.work = exchange = Exchange(self, world.service.pools.of(site.upstream), admitted, record, site.hsts)
        world.does(exchange.start)

    # what the client does

    def says(self, data: bytes) -> None:
        """A piece of the body."""
        self._held += data
        self.world.does(self._feed)

    def ends(self, *trailers: tuple[bytes, bytes]) -> None:
        """The request ends."""
        self._end = list(trailers)
        self.world.does(self._feed)

    def passes(self, seconds: float) -> None:
        """Time passes, until the deadline at most."""
        self.world.passes(seconds)
        if self.work is not None and clock.monotonic_seconds() >= self.deadline:
            self.world.does(self.work.on_deadline)

    def _feed(self) -> None:
        work = self.work
        if work is None or not work.takes_body:
            return
        if self._held:
            data, self._held = self._held, b""
            assert work.request_data(data) == b""
        if self._end is not None and self.work is work:
            work.request_end(self._end)

    # what the exchange asks

    def feed_exchange(self) -> None:
        self._feed()

    def hold(self, data: bytes) -> None:
        assert not data

    def pause_reading(self) -> None:
        self.is_read_paused = True

    def resume_reading(self) -> None:
        self.is_read_paused = False

    def may_keep_alive(self, head: RequestHead) -> bool:
        return head.is_keep_alive

    def send(self, events: list[Event]) -> None:
        self.events += events

    def write(self, data: bytes) -> None:
        self.tunnelled += data

    def write_eof(self) -> None:
        self.has_tunnel_ended = True

    def takes_more(self) -> bool:
        return False

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        self.world.loop.call_soon(go_on)

    def catch_up(self) -> None:
        pass

    def waited(self, work: Work) -> None:
        raise AssertionError(work)

    def tunnel(self, work: Work) -> None:
        self.work = work
        self._feed()

    def proxy_header(self) -> bytes:
        return b""

    def owns_upstream(self, head: RequestHead | None, *, is_hidden: bool = False) -> None:  # noqa: ARG002
        self.pins = True

    def pin(self, upstream: UpstreamConnection, *_: Any, **__: Any) -> None:
        self.pinned = upstream

    def unpin(self) -> None:
        self.pinned = None

    def pinned_lost(self) -> None:
        self.pinned = None

    def note_failed_login(self, client_ip: str | None) -> None:
        pass

    def log(self, record: AccessRecord) -> None:
        self.records.append(record)

    def release_buffers(self) -> None:
        pass

    def exchange_done(self, unread_body: BodyReader | None) -> None:  # noqa: ARG002
        self.is_done, self.work = True, None

    def refuse_exchange(self, error: RequestError, head: RequestHead, record: AccessRecord) -> None:  # noqa: ARG002
        self.refused, self.work = error, None

    def close_unanswered(self, error: RequestError, record: AccessRecord) -> None:  # noqa: ARG002
        self.was_aborted, self.work = True, None

    def abort_exchange(self) -> None:
        self.was_aborted, self.work = True, None

    def close_after_tunnel(self) -> None:
        self.is_done, self.work = True, None
