"""Everything that a configuration file turned into, immutable: what connections serve by.

Keeps true: nothing here changes after it was made. A reload makes a new one and swaps the reference; an
exchange reads it once, at its start.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.model import Config, Site, Upstream
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
    """A site ready to serve: its contexts, its judge and where its requests go."""

    site: Site
    tls: SiteTls
    judgements: JudgementCache
    upstream: Upstream
    hsts: bytes = b""  # the field that every answer carries, with its line end


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
