"""What the connections of clients have in common: TLS, the certificate, the snapshot, and judging requests.

Keeps true: a certificate is judged before the first request, and again when a snapshot or time may change the result.
Requests under way are judged again at once. The protocol inside TLS is the one that was chosen before the handshake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import ClassVar, Literal

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Endpoint, Peer, Reason, counted
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord
from gateway.proxy.exchange.admission import Admission, Admitted
from gateway.proxy.exchange.waiting import Wait
from gateway.proxy.limits.kept_bodies import KeptBodies
from gateway.proxy.limits.lockout import CERTIFICATE_FAILURES, LockedOut
from gateway.proxy.limits.rates import Requests
from gateway.proxy.lingering import Lingering
from gateway.proxy.ports import Work
from gateway.proxy.records import finish_record, secured_fields, unproven_fields
from gateway.proxy.refusal import MAX_REFUSALS_IN_A_ROW, counts
from gateway.proxy.send_progress import SendProgress
from gateway.proxy.service import Service
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.tls.layer import TlsLayer
from gateway.tls.peer import peer_certificates
from gateway.tls.proxy_protocol import encode_v2


class ClientConnection:
    """A client's TLS connection. The classes for each version of HTTP read its requests."""

    __slots__ = (
        "_is_asked",
        "_is_over_limit",
        "_layer",
        "_lingering",
        "_refusals_in_a_row",
        "_requests",
        "_send_progress",
        "_server_name",
        "admission",
        "deadline",
        "is_write_paused",
        "peer",
        "service",
        "snapshot",
        "trusted_until",
    )

    def __init__(  # noqa: PLR0913
        self,
        service: Service,
        snapshot: Snapshot,
        site: SiteState,
        peer: Peer,
        *,
        server_name: str | None,
        public_port: int,
        is_over_limit: bool,
    ) -> None:
        self.service = service
        self.snapshot = snapshot
        self.peer = peer
        self.admission = Admission(snapshot, site, peer, public_port, service.statuses)
        self.deadline = clock.monotonic_seconds() + snapshot.config.limits.handshake_seconds
        self.trusted_until = float("inf")  # Unix seconds; see `Admission.trusted_until`
        self.is_write_paused = False  # the client reads slowly
        self._layer: TlsLayer
        self._send_progress: SendProgress
        self._server_name = server_name
        self._is_asked = False
        self._is_over_limit = is_over_limit
        self._refusals_in_a_row = 0
        self._requests: Requests | None = None
        self._lingering: Lingering | None = None

    protocols: ClassVar[frozenset[bytes]]  # by ALPN; empty: none

    def works(self) -> Sequence[Work]:
        """The work under way: one for each request that is not answered."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Process plaintext from the client."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The client sends no more; True to continue writing to it."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The client reads slowly: pause the answers."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """The client has caught up."""
        raise NotImplementedError

    # TLS

    def secured_by(self, layer: TlsLayer, *, is_asked: bool) -> None:
        """Set the TLS layer, before its first byte; `is_asked`: the client is asked for a certificate."""
        self._layer = layer
        self._send_progress = SendProgress(layer)
        self._is_asked = is_asked
        self.admission.implied_host = self._implied_host(layer)

    def _implied_host(self, layer: TlsLayer) -> bytes:
        """The host of an HTTP/1.0 request without Host: the handshake's server name, or the local address."""
        if self._server_name is not None:
            return self._server_name.encode("ascii")
        address = (self.peer.reached or layer.local).address
        return (str(address) if isinstance(address, IPv4Address) else f"[{address}]").encode("ascii")

    def handshake_done(self) -> None:
        """The handshake is finished: judge the certificate, for all requests of this connection."""
        layer, admission = self._layer, self.admission
        if layer.protocol not in self.protocols:
            self.handshake_failed("the client offered other protocols in its second ClientHello")
            layer.abort()
            return
        if admission.leaf_der is None:  # else `may_resume` has stored it
            admission.leaf_der, admission.chain_der = peer_certificates(layer.connection)
        leaf = admission.leaf_der
        self._judge_certificate()
        if leaf is not None:
            self.service.connections.certified.add(self)
        # In TLS 1.3 the ticket is withheld; a TLS 1.2 session is dropped when the connection ends.
        layer.leaves_no_session = self._is_asked and not admission.is_alone()
        site, identity = admission.site.site, admission.judgement.identity
        admission.fields = secured_fields(admission.fields, site, layer, identity, leaf)
        self._requests = self._own_requests()
        self.service.counters.handshake_done(is_resumed=layer.is_resumed)
        self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.header_time_seconds

    def handshake_failed(self, cause: str) -> None:
        """Log the failed handshake, with the certificate whose key the client did not prove."""
        fields = unproven_fields(self.admission.fields, peer_certificates(self._layer.connection)[0])
        record = AccessRecord(fields, clock.unix_seconds(), None)
        record.refused(f"handshake_failed: {cause}", cause)
        self.service.log(record)
        # The client may still be sending; give it time to read the alert and close.
        self._lingering = Lingering(clock.monotonic_seconds(), is_brief=True)
        self.deadline = self._lingering.deadline

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The connection is closed."""
        self.service.connections.closed(self, self.peer.address)

    def discarded(self, count: int) -> None:
        """Count ciphertext that arrived after the end of the connection and was thrown away."""
        lingering = self._lingering
        if lingering is None:
            return
        if lingering.discards(count, clock.monotonic_seconds()):
            self.deadline = max(self.deadline, lingering.deadline)  # a slow client may have a later deadline
        else:
            self._layer.abort()

    # judging

    def _own_requests(self) -> Requests | None:
        """The counter of this client's requests; None for a trusted proxy, whose clients are counted separately."""
        return None if self.admission.is_proxy else self.service.requests.of(self.peer.address)

    def _requests_of_named(self, head: RequestHead, record: AccessRecord) -> Requests | None:
        """The counter of the client that a trusted proxy names; None if it names no client."""
        try:
            client = self.admission.name_client(head, record)
        except RequestError:
            return None  # the request will be refused for this
        if client is None or client.address == self.peer.address:
            return None
        return self.service.requests.of(client.address)

    def _admit(self, head: RequestHead, record: AccessRecord, admitted: Admitted | None) -> Admitted | None:
        """Judge one request; None if the answer of an OCSP responder must be waited for. Raises `RequestError`.

        `admitted`: the result of an equal request before.
        """
        admission = self.admission
        if self._is_over_limit:
            raise RequestError(Reason.TOO_MANY_CONNECTIONS, "too many connections")
        if admission.is_due(record.now) and self._judge_certificate():
            admitted = None
        if self.service.lockout.bans:
            self._check_ban(head, record)
        if admission.question is not None:
            return None
        if admitted is None:
            admitted = admission.admit(head, record)
            if record.observed is not None:
                self.service.counters.note_observed(record)
        else:
            admitted.describe(record)
        return admitted

    def _check_ban(self, head: RequestHead, record: AccessRecord) -> None:
        """Refuse a client that is locked out; the log says how it would have been decided. Raises `LockedOut`."""
        admission = self.admission
        admission.name_client(head, record)  # the clients behind a proxy are locked out separately
        key = admission.lockout_key(record.connection.client_ip or "")
        if not (seconds := self.service.lockout.banned_seconds(key, record.now)):
            return
        otherwise = "it would have been let in"
        try:
            admission.readmit(head, record)
        except RequestError as error:
            otherwise = f"{error.reason}: {error.cause}"
        record.rule = record.decision = record.observed = None  # no rule decided
        raise LockedOut(seconds, key, otherwise)

    def _is_one_too_many(self, reason: Reason) -> bool:
        """Count a refusal; True if the connection must end. A trusted proxy's stays open: it has many clients."""
        if not counts(reason) or self.admission.is_proxy:
            return False
        self._refusals_in_a_row += 1
        return reason is Reason.LOCKED_OUT or self._refusals_in_a_row >= MAX_REFUSALS_IN_A_ROW

    def note_refusal(self, reason: Reason, record: AccessRecord) -> None:
        """Count a refusal for the lockout, and log it."""
        if reason in CERTIFICATE_FAILURES:
            self._note_failure(record.connection.client_ip, "certificate")
        self.log(record)

    def catch_up(self) -> None:
        """Use the current snapshot now, if a reload has not reached this connection yet."""
        if self.snapshot is not self.service.snapshot:
            self.adopt(self.service.snapshot)

    def adopt(self, snapshot: Snapshot) -> None:
        """Use another snapshot: requests under way are judged at once, later ones when they arrive."""
        site = snapshot.sites.find(self._server_name)
        works = self.works()
        for work in works:
            work.record.config = snapshot.config.digest
        if site is None:
            for work in works:
                work.fail(RequestError(Reason.HOST_MISMATCH, "the site is no longer served"))
            if not works:
                self._close(is_lingering=False)
            return
        self.snapshot = snapshot
        self._follow(site)
        self.admission.adopt(snapshot, site)
        self._requests = self._own_requests()
        if not self._layer.is_established:
            return  # the certificate is judged when the handshake is finished
        self._judge_anew()

    def _follow(self, site: SiteState) -> None:
        """Do what a version of HTTP needs for another state of the site, before it is used."""

    def on_trust_end(self) -> None:
        """The certificate, a list or an OCSP answer has expired: judge the requests under way again."""
        question = self.admission.question
        if not self.works():
            self.trusted_until = float("inf")  # the next request is judged when it arrives
        elif question is None or question.done():
            self._judge_anew()

    def _judge_anew(self) -> None:
        self._judge_certificate()
        for work in self.works():
            try:
                self.admission.check_still(work.head, work.record, has_begun=not isinstance(work, Wait))
            except RequestError as error:
                work.fail(error)

    def _judge_certificate(self) -> bool:
        """Judge the certificate; True if the judgement has changed."""
        is_new = self.admission.judge(clock.now())
        self.trusted_until = self.admission.trusted_until
        return is_new

    # what the work asks of its client, the same for each version

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""
        self.service.fair_queue.wait(counted(self.peer.address), go_on)

    def write(self, data: bytes) -> None:
        """Send plaintext to the client."""
        self._layer.write(data)
        if self.is_write_paused:
            self._send_progress.begin(clock.monotonic_seconds())

    def takes_more(self) -> bool:
        """True if a slow client has read enough since the last write or the last call of this method."""
        return self._send_progress.goes_on(self.snapshot.config.limits, clock.monotonic_seconds())

    def log(self, record: AccessRecord) -> None:
        """Finish and log the record of a request."""
        finish_record(record)
        self.service.log(record)

    def release_buffers(self) -> None:
        """Free the buffers of a large transfer while the connection is idle."""
        self._layer.release_buffers()

    @property
    def kept_bodies(self) -> KeptBodies:
        """The bodies that the worker keeps for a retry."""
        return self.service.kept_bodies

    def proxy_header(self) -> bytes:
        """The PROXY header that begins each connection for this client to an upstream with `proxy_protocol`."""
        peer = self.peer
        return encode_v2(Endpoint(peer.address, peer.port), peer.reached or self._layer.local)

    def note_failed_login(self, client_ip: str | None) -> None:
        """Count a login on this connection that the upstream refused."""
        self._note_failure(client_ip, "login")

    def _note_failure(self, client_ip: str | None, what: Literal["login", "certificate"]) -> None:
        service = self.service
        service.lockout.note(service.snapshot.config.lockout, self.admission.lockout_key(client_ip or ""), what)

    # the end

    def on_deadline(self) -> None:
        """The deadline has passed: end the handshake, or the connection if it does not read its answers."""
        if self._layer.is_closing() or self.is_write_paused:
            if self.takes_more():
                self.deadline = clock.monotonic_seconds() + self.snapshot.config.limits.transfer_idle_seconds
            else:
                self._layer.abort()
        elif not self._layer.is_established:
            self.handshake_failed(f"not finished within {self.snapshot.config.limits.handshake_seconds:g} s")
            self._layer.abort()
        else:
            self._close(is_lingering=False)

    def drain(self) -> None:
        """Close now, or after the requests under way."""
        if self._lingering is not None:
            now = clock.monotonic_seconds()
            self._lingering.shorten(now)
            if not self.is_write_paused:
                self.deadline = min(self.deadline, self._lingering.deadline)
        elif not self.works():
            self._close(is_lingering=False)

    def cut(self) -> None:
        """Close at once; requests under way are logged as far as they got."""
        self._layer.abort()

    def _close(self, *, is_lingering: bool) -> None:
        """Close; with `is_lingering`, a client that may still be sending gets time to read the answer."""
        if self._layer.is_closing():
            return
        now = clock.monotonic_seconds()
        self.deadline = now + self.snapshot.config.limits.transfer_idle_seconds
        self._send_progress.begin(now)
        if is_lingering:
            is_brief = self._is_over_limit or self.service.connections.is_draining
            self._lingering = lingering = Lingering(now, is_brief=is_brief)
            if not self.is_write_paused:
                self.deadline = lingering.deadline
            self._layer.close_sending()
            self._layer.resume_reading()  # paused data is now read and thrown away, to notice the client's end
        else:
            self._layer.close()


def is_of_one_client(site: SiteState) -> bool:
    """True if each connection to the site's upstream is for one client only."""
    return site.upstream.is_of_one_client
