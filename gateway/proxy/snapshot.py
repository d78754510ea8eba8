"""Everything made from a configuration, immutable, for serving connections.

Keeps true: a snapshot never changes. A reload makes a new one and replaces the reference; an exchange reads it once, at
its start.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.model import Config, Site, Upstream
from gateway.http.events import FieldParts
from gateway.http.headers import RequestClassifier
from gateway.http.identity_headers import IdentityHeaderWriter
from gateway.http.pages import Pages
from gateway.policy.engine import Engine
from gateway.policy.hosts import SiteIndex
from gateway.policy.networks import NetworkSet
from gateway.tls.contexts import SiteTls
from gateway.tls.judgements import JudgementCache


@dataclass(frozen=True, slots=True, eq=False)
class SiteState:
    """A site ready to serve: its TLS contexts, cached judgements and upstream."""

    site: Site
    tls: SiteTls
    judgements: JudgementCache
    upstream: Upstream
    hsts: FieldParts = ()  # the field in every answer; empty: none


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One configuration, ready to serve."""

    config: Config
    engine: Engine
    states: tuple[SiteState, ...]
    sites: SiteIndex[SiteState]
    identity_headers: IdentityHeaderWriter
    classify: RequestClassifier
    pages: Pages
    trusted_proxies: NetworkSet
