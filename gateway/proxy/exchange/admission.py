"""Judges a request's head, and writes the head for the upstream or raises the reason for refusal.

Keeps true: a request is forwarded only in exactly the spelling that the rules allowed. The client's identity comes from
the socket, the handshake and trusted proxies, never from the client's own claims. The result depends only on the head's
bytes, the snapshot and the certificate's judgement, so it can be reused when a client repeats a request.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import (
    NO_CERTIFICATE,
    NO_CONNECTION_LOGIN,
    Address,
    ConnectionLogin,
    Decision,
    Judgement,
    Login,
    Origin,
    Peer,
    Reason,
    Request,
)
from gateway.http.headers import AUTHORIZATION, DESTINATION, FORWARDED, FORWARDED_FOR
from gateway.http.http1 import RequestHead
from gateway.http.login import HIDDEN_LOGIN, carried_on, kind_of, login_of, path_for_login
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.policy.hosts import normalise_host, port_of
from gateway.policy.uri import Target, normalise
from gateway.proxy.exchange.connection_logins import binds_connection
from gateway.proxy.exchange.forwarding import Client, client_of, forwarding_headers
from gateway.proxy.exchange.rewrite import Rewriter, rewriter_for
from gateway.proxy.exchange.webdav_destination import read_destination
from gateway.proxy.limits.lockout import key_of
from gateway.proxy.ocsp.statuses import Statuses
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.tls.client_cert import Examination
from gateway.tls.judgements import JudgementCache

# A certificate or its revocation list may expire while the connection stays open.
REJUDGE_SECONDS: Final = 1.0
HTTPS_PORT: Final = 443
_NEVER: Final = float("inf")


# Results that may change with time, and None: trusted certificates are cached by the site.
_PASSING: Final = frozenset({None, Reason.CERTIFICATE_NOT_YET_VALID, Reason.REVOCATION_UNKNOWN})


class _Refused(NamedTuple):
    """A refusal of the certificate, with the trust and the time of it."""

    by: JudgementCache
    since: datetime
    examination: Examination


class Admitted(NamedTuple):
    """A request that may pass. The upstream gets `before`, the request id, and `after`."""

    head: RequestHead
    before: bytes
    after: bytes
    decision: Decision
    address: Address  # the client's
    fields: ConnectionFields
    user: str | None
    login: Login
    kind: str  # how the request is logged in, for the log
    pins: bool  # the login belongs to the connection, see login_binding
    rewriter: Rewriter | None

    def describe(self, record: AccessRecord) -> None:
        """Copy the result into the access record."""
        record.connection = self.fields
        record.rule = self.decision.rule
        record.decision = self.decision.action
        record.login = self.kind
        record.user = self.user
        record.device_id = self.login.device_id


class Admission:
    """Identifies the client of one connection and judges its requests."""

    __slots__ = (
        "_authority",
        "_decided_by",
        "_decision",
        "_forwarding",
        "_host",
        "_host_raw",
        "_identity_block",
        "_itself",
        "_judged_until",
        "_lockout_key",
        "_offline",
        "_public_port",
        "_refused",
        "_rewriter",
        "_statuses",
        "chain_der",
        "connection_login",
        "fields",
        "implied_host",
        "is_proxy",
        "judgement",
        "leaf_der",
        "peer",
        "question",
        "site",
        "snapshot",
        "trusted_until",
    )

    def __init__(self, snapshot: Snapshot, site: SiteState, peer: Peer, public_port: int, statuses: Statuses) -> None:
        self.snapshot = snapshot
        self.site = site
        self.peer = peer
        self.is_proxy = snapshot.trusted_proxies.contains(peer.address)  # a trusted proxy, with many clients
        self._itself = Client(peer.address, Origin.CLIENT)
        self.fields = ConnectionFields.of_peer(peer, snapshot.config.digest)
        self.judgement: Judgement = NO_CERTIFICATE
        self.leaf_der: bytes | None = None
        self.chain_der: list[bytes] = []
        self.question: asyncio.Task[None] | None = None  # an OCSP request about the certificate; requests wait for it
        # The logins sent on this client's own upstream connection. Kept until the client's connection ends, even if a
        # reload gives the client another upstream connection, to be safe.
        self.connection_login: ConnectionLogin = NO_CONNECTION_LOGIN
        self._offline: Judgement = NO_CERTIFICATE  # the judgement without OCSP
        self._refused: _Refused | None = None
        self._statuses = statuses
        self._public_port = public_port  # the only port that a Host may name, besides 443
        self._lockout_key: tuple[str, Judgement, str] | None = None  # the last key, and what it was made from
        # When the certificate, its path, a revocation list or an OCSP answer expires, in Unix seconds: requests under
        # way must be judged again then. It may be in the past.
        self.trusted_until = _NEVER
        self._judged_until = 0.0
        self._identity_block = b""
        self.implied_host = b""  # for HTTP/1.0 requests without Host
        self._host_raw: bytes | None = None  # the last Host; the next attributes are derived from it
        self._host = ""
        self._authority = b""  # the host with the public port, if it was named
        self._decided_by: tuple[object, ...] | None = None
        self._decision: Decision
        self._forwarding = b""
        self._rewriter: Rewriter | None = None

    def judge(self, now: datetime) -> bool:
        """Judge the certificate again; True if the judgement has changed."""
        before = self.judgement
        self.trusted_until = _NEVER
        if self.leaf_der is not None:
            self._judge(self.leaf_der, now)
        is_pending = self.question is not None
        self._judged_until = 0.0 if is_pending else min(now.timestamp() + REJUDGE_SECONDS, self.trusted_until)
        self._identity_block = self.snapshot.identity_headers.headers_for(self.judgement)
        return self.judgement is not before

    def _judge(self, leaf_der: bytes, now: datetime) -> None:
        found = self._examine(leaf_der, now)
        self.judgement = self._offline = found.judgement
        self.question = None
        ends = [found.until]
        if self.site.site.ocsp.mode != "off":
            self.judgement, self.question = self._statuses.look_up(self.site, found.judgement, now)
            ends.append(self._statuses.holds_until(self.site, found.judgement))
        self.trusted_until = min((end.timestamp() for end in ends if end is not None), default=_NEVER)

    def _examine(self, leaf_der: bytes, now: datetime) -> Examination:
        """As `judgements.examine`; a refusal is reused while the trust is the same and no date can change it."""
        judgements, kept = self.site.judgements, self._refused
        if kept is not None and kept.by is judgements and kept.since <= now:
            return kept.examination
        found = judgements.examine(leaf_der, self.chain_der, now)
        is_final = found.judgement.reason not in _PASSING
        self._refused = _Refused(judgements, now, found) if is_final else None
        return found

    def may_resume(self, leaf_der: bytes, chain_der: list[bytes]) -> bool:
        """Store the client's certificates; True if a session may stand for them. TLS 1.3 calls it in the handshake."""
        self.leaf_der, self.chain_der = leaf_der, chain_der
        return self.is_alone()

    def is_alone(self) -> bool:
        """True if the certificate is trusted without other certificates that the client sent."""
        return self.leaf_der is not None and self._examine(self.leaf_der, clock.now()).is_alone

    def adopt(self, snapshot: Snapshot, site: SiteState) -> None:
        """Use another snapshot from now on; call `judge` afterwards if a certificate was shown."""
        self.snapshot = snapshot
        self.site = site
        self.is_proxy = snapshot.trusted_proxies.contains(self.peer.address)
        self._host_raw = None
        if (digest := snapshot.config.digest) != self.fields.config:
            self.fields = replace(self.fields, config=digest)

    def is_due(self, unix_seconds: float) -> bool:
        """True if the certificate must be judged again before the next request."""
        # Also if the clock was set back.
        return not self._judged_until - REJUDGE_SECONDS <= unix_seconds < self._judged_until

    def carry(self, login: Login) -> None:
        """Note that a request with this login is sent on this client's own upstream connection."""
        self.connection_login = carried_on(self.connection_login, login)

    def carry_hidden(self) -> None:
        """Note that a login of an unknown user takes place on that connection."""
        self.connection_login = HIDDEN_LOGIN

    def name_client(self, head: RequestHead, record: AccessRecord) -> Client | None:
        """The client that a trusted proxy names, also put into `record`; None for others. Raises `RequestError`."""
        if not self.is_proxy:
            return None
        peer, values, snapshot = self.peer.address, head.values, self.snapshot
        client = client_of(
            peer,
            values[FORWARDED_FOR],
            values[FORWARDED],
            snapshot.trusted_proxies,
            snapshot.config.trusted_proxies_header,
        )
        if client.address != peer:
            record.connection = self.fields.with_client(client.address)
        return client

    def lockout_key(self, client_ip: str) -> str:
        """The key by which lockout counts a client; during an OCSP request, by the judgement without OCSP."""
        key = self._lockout_key
        judgement = self.judgement if self.question is None else self._offline
        if key is None or key[0] != client_ip or key[1] is not judgement:
            key = self._lockout_key = (client_ip, judgement, key_of(client_ip, judgement))
        return key[2]

    def readmit(self, head: RequestHead, record: AccessRecord) -> Admitted:
        """Judge again a request that is under way. Raises `RequestError`.

        During a new OCSP request, the judgement without OCSP is used, because the last answer let the request in.
        """
        judgement = self.judgement
        if self.question is not None:
            self.judgement = self._offline
        try:
            return self.admit(head, record)
        finally:
            self.judgement = judgement

    def check_still(self, head: RequestHead, record: AccessRecord, *, has_begun: bool) -> None:
        """As `readmit`, but `record` changes only if the request is refused. Raises `RequestError`.

        If the exchange has begun (`has_begun`) with a certificate, and a rule in observation would now let the request
        in without one, it is refused; the client may repeat it.
        """
        anew = AccessRecord(self.fields, record.now, None)
        try:
            decision = self.readmit(head, anew).decision
        except RequestError:
            record.rule, record.decision = anew.rule, anew.decision
            raise
        had_certificate = has_begun and record.observed is None and self.leaf_der is not None
        if had_certificate and decision.observed is not None:
            record.rule, record.decision = anew.rule, anew.decision
            raise RequestError(decision.observed, decision.detail)

    def admit(self, head: RequestHead, record: AccessRecord) -> Admitted:
        """Judge one request; the record gets what is known even if it is refused. Raises `RequestError`."""
        limits = self.snapshot.config.limits
        if head.content_length is not None and head.content_length > limits.body_bytes:
            raise RequestError(Reason.BODY_TOO_LARGE, f"the body is longer than {limits.body_bytes} bytes")
        if head.host is None or head.host != self._host_raw:
            self._name_host(self.implied_host if head.host is None else head.host)
        client, forwarding = self.name_client(head, record), self._forwarding
        if client is None:
            client = self._itself
        elif client.address != self.peer.address:
            forwarding = self._forwarding_headers(client.address, self._chain(head, client.address))
        target, login, decision = self._decide(head, client, record)
        record.rule = decision.rule
        record.decision = decision.action
        if decision.reason is not None:
            raise RequestError(decision.reason, decision.detail)
        destination, identity = head.values[DESTINATION], self._identity_block
        if destination is not None:
            field, second = self._destination(head, destination, client, record)
            forwarding = field + forwarding
            if decision.observed is None and second.observed is not None:
                decision = second
        if decision.observed is not None:
            record.rule, record.observed = decision.rule, decision.observed
            identity = self.snapshot.identity_headers.headers_for(NO_CERTIFICATE)
        before, after = self._upstream_head(head, target, forwarding, identity)
        authorization = head.values[AUTHORIZATION]
        return Admitted(
            head,
            before,
            after,
            decision,
            client.address,
            record.connection,
            record.user,
            login,
            record.login or login.kind,
            authorization is not None and (login.kind == "connection" or binds_connection(authorization)),
            self._rewriter,
        )

    def _name_host(self, raw: bytes) -> None:
        """Use this host; it must belong to the site of the handshake (RFC 9110 15.5.20). Raises `RequestError`."""
        if not raw:
            raise RequestError(Reason.BAD_REQUEST, "the request has no Host field")
        text = raw.decode("latin-1")
        host = normalise_host(text)
        if self.snapshot.sites.find(host) is not self.site:
            raise RequestError(Reason.HOST_MISMATCH, "the host belongs to another site than the TLS handshake")
        self._host_raw = raw
        self._host = host
        authority = self._with_port(host, port_of(text))
        self._authority = authority.encode("ascii")
        self._rewriter = rewriter_for(self.site.upstream, authority)
        self._forwarding = self._forwarding_headers(self.peer.address, None)

    def _with_port(self, host: str, port: int | None) -> str:
        """The host with the port if it is the public one; servers write the port into links and redirects."""
        is_said = port == self._public_port and port != HTTPS_PORT
        return f"{host}:{port}" if is_said else host

    def _chain(self, head: RequestHead, client: Address) -> bytes:
        """X-Forwarded-For for the upstream: the proxy's value if this header is configured, and the proxy's address."""
        told = head.values[FORWARDED_FOR]
        if told is None or self.snapshot.config.trusted_proxies_header != "x-forwarded-for":
            told = str(client).encode("ascii")
        return b"%b, %b" % (told, str(self.peer.address).encode("ascii"))

    def _forwarding_headers(self, client: Address, chain: bytes | None) -> bytes:
        return forwarding_headers(client, chain, self._host, scheme="https", port=self._public_port)

    def _decide(self, head: RequestHead, client: Client, record: AccessRecord) -> tuple[bytes, Login, Decision]:
        """(target for the upstream, the request's login, decision)."""
        target = normalise(head.target)
        method = head.method.decode("ascii")
        path = path_for_login(target.match, target.readings) if target.readings else target.match
        login = login_of(path, target.query, head.values[AUTHORIZATION])
        carried = self.connection_login
        record.login = kind_of(login, carried)
        record.user = named_user(login)
        record.device_id = login.device_id
        engine = self.snapshot.engine
        # Everything that the decision depends on; webmail often asks for the same path with different queries.
        facts = (method, target.match, target.readings, login, client, self._host, self.judgement, carried, engine)
        if facts != self._decided_by:
            self._decision = self._ask_rules(method, target, login, client)
            self._decided_by = facts
        return _spelling(target), login, self._decision

    def _ask_rules(self, method: str, target: Target, login: Login, client: Client) -> Decision:
        engine, (address, origin) = self.snapshot.engine, client
        request = Request(
            address, self._host, method, target.match, self.judgement, login, self.connection_login, origin
        )
        return engine.decide_every(request, target.readings) if target.readings else engine.decide(request)

    def _destination(
        self, head: RequestHead, value: bytes, client: Client, record: AccessRecord
    ) -> tuple[bytes, Decision]:
        """(field for the upstream, decision on its path). Raises `RequestError` if the rules refuse the path."""
        is_absolute, target = read_destination(value, self._host_raw or b"")  # not empty, see `_name_host`
        path = path_for_login(target.match, target.readings)
        login = login_of(path, target.query, head.values[AUTHORIZATION])
        decision = self._ask_rules(head.method.decode("ascii"), target, login, client)
        if decision.reason is not None:
            record.rule = decision.rule
            record.decision = decision.action
            raise RequestError(decision.reason, f"the Destination: {decision.detail}")
        base = b""
        if is_absolute:
            base = self._base()
        return b"Destination: %b%b\r\n" % (base, _spelling(target)), decision

    def _base(self) -> bytes:
        """Scheme and host as the upstream knows itself: servers compare both with their own."""
        upstream = self.site.upstream
        scheme = upstream.servers[0].scheme.encode("ascii")
        is_named = upstream.host != "preserve" and upstream.rewrite_location is not False
        return b"%b://%b" % (scheme, upstream.host.encode("ascii") if is_named else self._authority)

    def _upstream_head(
        self, head: RequestHead, target: bytes, forwarding: bytes, identity: bytes
    ) -> tuple[bytes, bytes]:
        """The head for the upstream: the forwarded fields, then the gateway's own."""
        host = self.site.upstream.host
        before = b"".join(
            (
                head.method,
                b" ",
                target,
                b" HTTP/1.1\r\nHost: ",
                self._authority if host == "preserve" else host.encode("ascii"),
                b"\r\n",
                *head.passing,
                forwarding,
                identity,
                b"X-Request-Id: ",
            )
        )
        if head.upgrade is not None:
            after = b"\r\nConnection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        elif head.is_chunked:
            after = b"\r\nTransfer-Encoding: chunked\r\n"
        elif head.content_length is not None:
            after = b"\r\nContent-Length: %d\r\n" % head.content_length
        else:
            after = b"\r\n"
        return before, after + (b"Expect: 100-continue\r\n\r\n" if head.expects_continue else b"\r\n")


def named_user(login: Login) -> str | None:
    """The user for the log. That of ActiveSync's query must not stand for a Basic login that can't be read."""
    if not login.users or (login.is_hidden and login.kind == "basic"):
        return None
    return login.users[0]


def _spelling(target: Target) -> bytes:
    """The target as it is forwarded."""
    return (target.path if target.query is None else f"{target.path}?{target.query}").encode("ascii")
