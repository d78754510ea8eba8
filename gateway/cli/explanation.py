"""Finds out what would happen to a request, with the engine, judge and tables that serve. Nothing is sent.

Keeps true: a certificate counts only if the client would be asked for it, as in a real handshake.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.config.model import Config, Site
from gateway.errors import RequestError, UsageError
from gateway.facts import (
    NO_CERTIFICATE,
    NO_CONNECTION_LOGIN,
    STATUS_OF_REASON,
    Address,
    Decision,
    Judgement,
    Origin,
    Request,
)
from gateway.fetching.list_store import ListStore, stored_lists
from gateway.http.login import HIDDEN_LOGIN, login_of, path_for_login
from gateway.policy.engine import Engine
from gateway.policy.hosts import SiteIndex, normalise_host
from gateway.policy.networks import EXTERNAL, NetworkSet, named
from gateway.policy.trace import Step
from gateway.policy.uri import Target, normalise
from gateway.proxy.exchange.forwarding import client_of
from gateway.tls.client_cert import judge
from gateway.tls.trust import load_trust

_SCHEME: Final = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://")
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_FORWARDED_FOR: Final = "X-Forwarded-For"
_FORWARDED: Final = "Forwarded"
# A handshake for a name that no site has ends with this alert (RFC 6066, 3).
UNRECOGNISED_NAME: Final = "unrecognized_name"


@dataclass(frozen=True, slots=True)
class Question:
    """The request to explain."""

    peer: Address
    url: str
    method: str
    certificates: tuple[x509.Certificate, ...] = ()  # the client's, leaf first
    forwarded_for: str | None = None
    forwarded: str | None = None
    user: str | None = None  # the mail login, as HTTP Basic
    hidden_login: Literal["bearer", "connection"] | None = None  # a token, or the connection's NTLM or Negotiate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens to the request."""

    passes: bool
    status: int | None  # None: the upstream's own, or a handshake that fails
    reason: str | None
    detail: str
    observed: str | None = None  # why the rule would refuse the request if it were enforced


@dataclass(slots=True)
class Explanation:
    """Every step of the request, as far as it gets; the fields of later steps stay None or empty."""

    question: Question
    outcome: Outcome
    client: Address | None = None
    client_found: str = ""  # how the address was found
    origin: Origin = Origin.CLIENT  # what the address stands for
    networks: tuple[str, ...] = ()
    host: str | None = None
    site: Site | None = None
    is_asked: bool | None = None
    judgement: Judgement | None = None  # None: no certificate was given, or the client isn't asked for it
    target: Target | None = None
    steps: tuple[Step, ...] = ()
    decision: Decision | None = None

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the certificate that the client sends, readable or not, as in the access log."""
        shown = self.question.certificates if self.judgement is not None else ()
        return shown[0].fingerprint(hashes.SHA256()).hex() if shown else None


def explain(config: Config, question: Question, now: datetime) -> Explanation:
    """Explain the request. Raises `UsageError` for an unusable URL, `ConfigError` for a site's unusable CA files."""
    authority, target = split_url(question.url)
    told = Explanation(question, Outcome(passes=False, status=None, reason=None, detail=""))
    engine = Engine(config.rules, config.networks, now.timestamp())
    try:
        told.host = normalise_host(authority)
        sites = SiteIndex([(host, site) for site in config.sites for host in site.hosts])
        told.site = sites.find(told.host)
        if told.site is None:
            told.outcome = Outcome(
                passes=False, status=None, reason=UNRECOGNISED_NAME, detail=f"no site answers to {told.host}"
            )
            return told
        trusted = NetworkSet(config.trusted_proxies)
        address = None if trusted.contains(question.peer) else question.peer
        told.is_asked = engine.asks_for_certificate(address, told.host, told.site.hosts)
        _find_client(config, told, trusted)
        if told.is_asked and question.certificates:
            leaf, *chain = question.certificates
            known = stored_lists(config, ListStore.beside(config.path))
            told.judgement = judge(leaf, chain, load_trust(told.site, known), now)
        told.target = normalise(target)
        _decide(engine, told, told.host, told.target)
    except RequestError as error:
        told.outcome = Outcome(passes=False, status=error.status, reason=error.reason.value, detail=error.cause)
    return told


def split_url(url: str) -> tuple[str, bytes]:
    """(host with port, request target) of an https URL; the path's spelling is kept. Raises `UsageError`."""
    scheme = _SCHEME.match(url)
    if scheme is not None and scheme[1].lower() != "https":
        raise UsageError(f"{url!r} is not an https URL", "Write https://…; plain HTTP is at most redirected.")
    rest = url[scheme.end() :] if scheme is not None else url
    end = _AUTHORITY_END.search(rest)
    authority, target = (rest[: end.start()], rest[end.start() :]) if end is not None else (rest, "")
    if not authority:
        raise UsageError(f"{url!r} names no host", "Write the whole URL, like https://mail.example.com/webmail.")
    if not target.startswith("/"):
        target = "/" + target
    return authority, target.encode("utf-8", "surrogateescape")


def _find_client(config: Config, told: Explanation, trusted: NetworkSet) -> None:
    question, peer = told.question, told.question.peer
    brought = {_FORWARDED_FOR: _raw(question.forwarded_for), _FORWARDED: _raw(question.forwarded)}
    counts = config.trusted_proxies_header
    header = _FORWARDED if counts == "forwarded" else _FORWARDED_FOR
    if not trusted.contains(peer):
        told.client, told.client_found = peer, "the TCP peer"
        ignored = " and ".join(name for name, value in brought.items() if value is not None)
        if ignored:
            told.client_found += f"; it is not in trusted_proxies, so its {ignored} is ignored"
    else:
        told.client, told.origin = client_of(peer, brought[_FORWARDED_FOR], brought[_FORWARDED], trusted, counts)
        if told.origin is not Origin.UNNAMED:
            told.client_found = f"{header} of the trusted proxy {peer}"
        elif brought[header] is None:
            told.client_found = f"a trusted proxy that sends no {header}, so no client is known"
        else:
            told.client_found = f"a trusted proxy; {header} names no client behind it"
    told.networks = () if told.origin is Origin.UNNAMED else _networks_of(config, told.client)


def _raw(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1", "replace")


def _networks_of(config: Config, client: Address) -> tuple[str, ...]:
    return tuple(name for name in (*config.networks, EXTERNAL) if named(name, config.networks).contains(client))


def _decide(engine: Engine, told: Explanation, host: str, target: Target) -> None:
    question, client = told.question, told.client or told.question.peer
    login = login_of(path_for_login(target.match, target.readings), target.query, _authorization(question))
    carried = HIDDEN_LOGIN if question.hidden_login == "connection" else NO_CONNECTION_LOGIN
    judgement = told.judgement or NO_CERTIFICATE
    request = Request(client, host, question.method, target.match, judgement, login, carried, origin=told.origin)
    told.steps = engine.trace(engine.strictest(request, target.readings))
    told.decision = engine.decide_every(request, target.readings)
    reason = told.decision.reason
    told.outcome = Outcome(
        passes=reason is None,
        status=None if reason is None else STATUS_OF_REASON[reason],
        reason=None if reason is None else reason.value,
        detail=told.decision.detail,
        observed=told.decision.observed,
    )


def _authorization(question: Question) -> bytes | None:
    """The request's Authorization field."""
    if question.user is not None:
        return b"Basic " + b64encode(f"{question.user}:".encode("utf-8", "replace"))
    return b"Bearer token" if question.hidden_login == "bearer" else None
