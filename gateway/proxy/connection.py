"""One client's connection: requests are read from it one after the other, judged, and carried or refused.

Keeps true: nothing reaches an upstream that the rules did not let through on this very spelling; answers
leave in the order the requests came; what a client sends ahead is held up to a bound and no further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import (
    ANOTHER_CERTIFICATE_COULD_HELP,
    NO_CERTIFICATE,
    STATUS_OF_REASON,
    Decision,
    Peer,
    Reason,
    Request,
)
from gateway.http.body import BodyError, BodyReader
from gateway.http.headers import (
    ACCEPT,
    ACCEPT_LANGUAGE,
    AUTHORIZATION,
    FORWARDED_FOR,
    REFERER,
    USER_AGENT,
)
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.http.login import login_of
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.logs.request_id import new_request_id
from gateway.policy.hosts import normalise_host
from gateway.policy.uri import Target, normalise
from gateway.proxy.exchange import Exchange
from gateway.proxy.forwarding import client_address, forwarding_headers
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.tls.layer import TlsLayer

if TYPE_CHECKING:
    from gateway.proxy.service import Service

# Pipelined requests, or a body for an upstream that is not connected yet; more is left in the socket.
MAX_HELD_BYTES: Final = 64 * 1024
# What is read and thrown away of a body whose request was already answered, so that the connection can go on.
MAX_DRAINED_BYTES: Final = 256 * 1024
# A certificate may expire, and its revocation list may, while the connection stays open.
REJUDGE_SECONDS: Final = 1.0
# How long a closing connection waits for the client to read its last answer.
LINGER_SECONDS: Final = 2.0

_PROTOCOLS: Final = ("HTTP/1.0", "HTTP/1.1")
_PHRASES: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


class ClientConnection:
    """The HTTP/1.1 side of a client's TLS connection."""

    __slots__ = (
        "_drained_bytes",
        "_draining",
        "_exchange",
        "_fields",
        "_forwarding",
        "_held",
        "_host",
        "_host_raw",
        "_identity_block",
        "_is_lingering",
        "_is_over_limit",
        "_is_paused",
        "_judged_by",
        "_judged_until",
        "_judgement",
        "_layer",
        "_local_port",
        "_verdict",
        "_verdict_for",
        "closes_after_exchange",
        "deadline",
        "peer",
        "service",
        "site",
        "snapshot",
    )

    def __init__(
        self, service: Service, snapshot: Snapshot, site: SiteState, peer: Peer, *, local_port: int, is_over_limit: bool
    ) -> None:
        self.service = service
        self.snapshot = snapshot
        self.site = site
        self.peer = peer
        self.deadline = clock.monotonic_seconds() + snapshot.config.limits.handshake_seconds
        self.closes_after_exchange = False
        self._layer: TlsLayer
        self._local_port = local_port
        self._is_over_limit = is_over_limit
        self._fields = ConnectionFields.of_peer(peer)
        self._exchange: Exchange | None = None
        self._held = b""
        self._is_paused = False
        self._is_lingering = False
        self._draining: BodyReader | None = None
        self._drained_bytes = 0
        self._judgement = NO_CERTIFICATE
        self._judged_by: Snapshot | None = None
        self._judged_until = 0.0
        self._identity_block = b""
        self._host_raw: bytes | None = None
        self._host = ""
        self._forwarding = b""
        self._verdict_for: tuple[bytes, bytes] | None = None
        self._verdict: tuple[bytes, Decision] | None = None

    def __repr__(self) -> str:
        return f"<ClientConnection {self.peer.address} {self._exchange or 'idle'}>"

    # TLS

    def secured_by(self, layer: TlsLayer) -> None:
        """The layer below; before its first byte."""
        self._layer = layer

    def handshake_done(self) -> None:
        """TLS is finished: look at the certificate once, for all requests of this connection."""
        layer = self._layer
        connection = layer.connection
        self._judge_certificate(self.snapshot)
        self._fields = ConnectionFields(
            client_ip=self._fields.client_ip,
            client_port=self._fields.client_port,
            listener=self._fields.listener,
            site=self.site.site.name,
            tls_version=connection.get_protocol_version_name(),
            tls_cipher=connection.get_cipher_name(),
            tls_group=layer.group_name,
            tls_resumed=layer.is_resumed,
            identity=self._judgement.identity,
        )
        self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.header_time_seconds

    def handshake_failed(self, cause: str) -> None:
        """No request will come; the attempt is on record."""
        record = AccessRecord(self._fields, clock.unix_seconds(), None)
        record.reason = cause
        self.service.log(record)

    def _judge_certificate(self, snapshot: Snapshot) -> None:
        leaf, chain = self._layer.peer_certificates()
        self._judged_by = snapshot
        self._judged_until = clock.unix_seconds() + REJUDGE_SECONDS
        if leaf is None:
            self._judgement = NO_CERTIFICATE
        else:
            self._judgement = self.site.judgements.judge(leaf, chain, clock.now())
        self._identity_block = snapshot.identity_headers.headers_for(self._judgement)
        self._verdict_for = None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The client is gone."""
        exchange, self._exchange = self._exchange, None
        self._held = b""
        if exchange is not None:
            exchange.client_gone()
        self.service.closed(self, self.peer.address)

    # reading

    def data_received(self, data: bytes) -> None:
        """Plaintext from the client."""
        exchange = self._exchange
        if exchange is not None:
            if exchange.takes_body:
                data = exchange.request_data(data)
            if data:
                self._hold(data)
        elif self._draining is not None:
            self._drain_body(data)
        else:
            self._read(data)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > MAX_HELD_BYTES and not self._is_paused:
            self._is_paused = True
            self._layer.pause_reading()

    def _release(self) -> bytes:
        data, self._held = self._held, b""
        if self._is_paused:
            self._is_paused = False
            self._layer.resume_reading()
        return data

    def _read(self, data: bytes) -> None:
        """Take request after request out of the bytes, until one is under way or the bytes end."""
        if self._held:
            data = self._held + data
            self._held = b""
        limits = self.snapshot.config.limits
        while data and self._exchange is None and not self._layer.is_closing():
            if data[0] in b"\r\n":  # RFC 9112 2.2: an empty line before a request is skipped
                data = data.lstrip(b"\r\n")
                continue
            end = data.find(END_OF_HEAD)
            try:
                if end < 0:
                    check_unfinished(data, uri_bytes=limits.uri_bytes, header_bytes=limits.header_bytes)
                    self._held = data
                    self.deadline = min(self.deadline, clock.monotonic_seconds() + limits.header_time_seconds)
                    return
                head = parse_request(
                    data,
                    end,
                    self.snapshot.classify,
                    uri_bytes=limits.uri_bytes,
                    headers=limits.headers,
                    header_bytes=limits.header_bytes,
                )
            except RequestError as error:
                self._refuse_unread(error, data)
                return
            data = data[end + 4 :]
            self._begin(head, data)
            data = self._release() if self._exchange is None else b""

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        """Judge one request and start its exchange, or refuse it."""
        self._held = rest
        record = AccessRecord(self._fields, clock.unix_seconds(), new_request_id())
        record.duration_ms = clock.monotonic_seconds()
        record.method = head.method.decode("ascii")
        record.host = head.host
        record.uri = head.target
        record.protocol = _PROTOCOLS[head.minor]
        values = head.values
        record.user_agent = values[USER_AGENT]
        record.referer = values[REFERER]
        try:
            request = self._admit(head, record)
        except RequestError as error:
            self.refuse_exchange(error, head, record)
            return
        exchange = Exchange(self, self.service.pool(self.site.upstream), head, request, record)
        self._exchange = exchange
        exchange.start()

    def _admit(self, head: RequestHead, record: AccessRecord) -> bytes:
        """The head for the upstream of a request that may pass. Raises `RequestError` for every other."""
        if self._is_over_limit:
            raise RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections")
        limits = self.snapshot.config.limits
        if head.content_length is not None and head.content_length > limits.body_bytes:
            raise RequestError(Reason.BODY_TOO_LARGE, f"the body is longer than {limits.body_bytes} bytes")
        if record.now >= self._judged_until:
            self._judge_certificate(self.snapshot)
        if head.host != self._host_raw:
            self._name_host(head)
        target, decision = self._decide(head, record)
        record.rule = decision.rule
        record.decision = decision.action
        if decision.reason is not None:
            raise RequestError(decision.reason, decision.detail)
        return self._upstream_head(head, target, record)

    def _name_host(self, head: RequestHead) -> None:
        """The request's host must be one of the site that the handshake was for (RFC 9110 15.5.20)."""
        raw = head.host
        if raw is None:
            raise RequestError(Reason.BAD_REQUEST, "no Host")
        host = normalise_host(raw.decode("latin-1"))
        if self.snapshot.sites.find(host) is not self.site:
            raise RequestError(Reason.HOST_MISMATCH, "the host is not of the site that the TLS handshake was for")
        self._host_raw = raw
        self._host = host
        self._verdict_for = None
        self._forwarding = forwarding_headers(
            self.peer.address, None, raw.decode("ascii"), scheme="https", port=self._local_port
        )

    def _decide(self, head: RequestHead, record: AccessRecord) -> tuple[bytes, Decision]:
        """(target for the upstream, decision); the last one is remembered, since clients repeat themselves."""
        key = (head.method, head.target)
        if key == self._verdict_for and self._verdict is not None:
            return self._verdict
        snapshot = self.snapshot
        address = self.peer.address
        forwarded_for = head.values[FORWARDED_FOR]
        is_proxied = forwarded_for is not None and snapshot.trusted_proxies.contains(address)
        if is_proxied:
            address = client_address(address, forwarded_for, snapshot.trusted_proxies)
            record.connection = record.connection.with_client(address)
        target = normalise(head.target)
        method = record.method or ""
        if snapshot.engine.needs_login:
            authorization = head.values[AUTHORIZATION]
            login = login_of(method, target.match, target.query, authorization)
            record.user = login.users[0] if login.users else None
            record.device_id = login.device_id
            request = Request(address, self._host, method, target.match, self._judgement, login)
        else:
            request = Request(address, self._host, method, target.match, self._judgement)
        verdict = (_forwarded(target), snapshot.engine.decide(request))
        if not is_proxied and not snapshot.engine.needs_login:
            self._verdict_for = key
            self._verdict = verdict
        return verdict

    def _upstream_head(self, head: RequestHead, target: bytes, record: AccessRecord) -> bytes:
        """The head as the upstream reads it: what passes of the client's, then what only we may say."""
        upstream = self.site.upstream
        raw = head.host or b""
        parts = [
            head.method,
            b" ",
            target,
            b" HTTP/1.1\r\nHost: ",
            raw if upstream.host == "preserve" else upstream.host.encode("ascii"),
            b"\r\n",
            *head.passing,
            self._forwarding_for(head, raw),
            self._identity_block,
            b"X-Request-Id: ",
            (record.request_id or "").encode("ascii"),
        ]
        if head.is_chunked:
            parts.append(b"\r\nTransfer-Encoding: chunked")
        elif head.content_length is not None:
            parts.append(b"\r\nContent-Length: %d" % head.content_length)
        if head.expects_continue:
            parts.append(b"\r\nExpect: 100-continue")
        parts.append(b"\r\n\r\n")
        return b"".join(parts)

    def _forwarding_for(self, head: RequestHead, raw: bytes) -> bytes:
        forwarded_for = head.values[FORWARDED_FOR]
        peer = self.peer.address
        if forwarded_for is None or not self.snapshot.trusted_proxies.contains(peer):
            return self._forwarding
        client = client_address(peer, forwarded_for, self.snapshot.trusted_proxies)
        chain = forwarded_for + b", " + str(peer).encode()
        return forwarding_headers(client, chain, raw.decode("ascii"), scheme="https", port=self._local_port)

    # what an exchange asks of its client

    def feed_exchange(self) -> None:
        """The exchange can take the body now: hand over what came of it already."""
        exchange = self._exchange
        data = self._release()
        if exchange is not None and data:
            rest = exchange.request_data(data) if exchange.takes_body else data
            if rest:
                self._hold(rest)

    def may_keep_alive(self, head: RequestHead) -> bool:
        """True when another request may follow on this connection."""
        return head.is_keep_alive and not self.service.is_draining

    def write(self, data: bytes) -> None:
        """Send plaintext to the client."""
        self._layer.write(data)

    def log(self, record: AccessRecord) -> None:
        """Write the record of an exchange that has ended."""
        record.duration_ms = (clock.monotonic_seconds() - (record.duration_ms or 0.0)) * 1000
        self.service.log(record)

    def exchange_done(self, unread_body: BodyReader | None) -> None:
        """The answer is delivered whole. `unread_body`: what of the request is still to come, to be thrown away."""
        self._exchange = None
        if self.closes_after_exchange or self.service.is_draining:
            self._close(is_lingering=unread_body is not None or bool(self._held))
            return
        self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.keepalive_seconds
        data = self._release()
        if unread_body is not None:
            self._draining = unread_body
            self._drained_bytes = 0
            self._drain_body(data)
        elif data:
            self._read(data)

    def _drain_body(self, data: bytes) -> None:
        body = self._draining
        if body is None:
            return
        try:
            payload, rest = body.feed(data) if data else (b"", b"")
        except BodyError:
            self._close(is_lingering=True)
            return
        self._drained_bytes += len(payload)
        if body.is_complete:
            self._draining = None
            if rest:
                self._read(rest)
        elif self._drained_bytes > MAX_DRAINED_BYTES:
            self._close(is_lingering=True)

    def abort_exchange(self) -> None:
        """The answer can't be finished: the client must see that it is not whole."""
        self._exchange = None
        self._layer.abort()

    def refuse_exchange(self, error: RequestError, head: RequestHead, record: AccessRecord) -> None:
        """Answer with a page instead, and log it."""
        self._exchange = None
        reason = error.reason
        is_closing = (
            head.has_body
            or not self.may_keep_alive(head)
            or reason in ANOTHER_CERTIFICATE_COULD_HELP
            or reason in (Reason.BAD_REQUEST, Reason.HOST_MISMATCH, Reason.TOO_MANY_CONNECTIONS)
        )
        record.reason = reason
        record.bytes_out = self._send_page(
            error,
            record,
            accept=head.values[ACCEPT],
            language=head.values[ACCEPT_LANGUAGE],
            is_head=head.method == b"HEAD",
            is_closing=is_closing,
        )
        self.log(record)
        if is_closing:
            self._close(is_lingering=True)
        else:
            self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.keepalive_seconds

    def _refuse_unread(self, error: RequestError, data: bytes) -> None:
        """Answer what is no request, and close: nothing behind it can be told apart from it."""
        record = AccessRecord(self._fields, clock.unix_seconds(), new_request_id())
        record.duration_ms = clock.monotonic_seconds()
        record.reason = error.reason
        record.bytes_in = len(data)
        record.bytes_out = self._send_page(error, record, accept=None, language=None, is_head=False, is_closing=True)
        self.log(record)
        self._close(is_lingering=True)

    def _send_page(
        self,
        error: RequestError,
        record: AccessRecord,
        *,
        accept: bytes | None,
        language: bytes | None,
        is_head: bool,
        is_closing: bool,
    ) -> int:
        """Send a refusal; returns the length of its body in bytes."""
        status = STATUS_OF_REASON[error.reason]
        headers, body = self.snapshot.pages.render(
            error.reason,
            request_id=record.request_id or "",
            accept=accept,
            accept_language=language,
            judgement=self._judgement,
            detail=str(error),
        )
        record.status = status
        parts = [b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES[status])]
        parts += [b"%b: %b\r\n" % header for header in headers]
        parts.append(b"Connection: close\r\n\r\n" if is_closing else b"\r\n")
        if not is_head:
            parts.append(body)
        self._layer.write(b"".join(parts))
        return 0 if is_head else len(body)

    # backpressure, deadlines, the end

    def pause_reading(self) -> None:
        """The upstream reads slowly."""
        self._layer.pause_reading()

    def resume_reading(self) -> None:
        """The upstream has caught up."""
        if not self._is_paused:
            self._layer.resume_reading()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._exchange is not None:
            self._exchange.resume_response()

    def on_deadline(self) -> None:
        """Whoever was to speak has not, in time."""
        if self._exchange is not None:
            self._exchange.on_deadline()
        elif not self._layer.is_established or self._is_lingering:
            self._layer.abort()
        elif self._held:
            seconds = self.snapshot.config.limits.header_time_seconds
            self._refuse_unread(
                RequestError(Reason.REQUEST_TIMEOUT, f"the request was not complete within {seconds:g} s"), self._held
            )
        else:
            self._layer.close()

    def drain(self) -> None:
        """Close now, or after the exchange that is under way."""
        if self._exchange is None:
            self._layer.close()

    def _close(self, *, is_lingering: bool) -> None:
        """Close; lingering where the client may still be sending, so that it reads the answer before a reset."""
        if is_lingering:
            self._is_lingering = True
            self._held = b""
            self._draining = None
            self.deadline = clock.monotonic_seconds() + LINGER_SECONDS
            self._layer.close_sending()
        else:
            self._layer.close()


def _forwarded(target: Target) -> bytes:
    return (target.path if target.query is None else f"{target.path}?{target.query}").encode("ascii")
