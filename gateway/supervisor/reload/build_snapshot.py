"""Builds a `Snapshot` from a checked configuration, completely or not at all."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from gateway import clock
from gateway.config.model import Config, Site
from gateway.errors import ConfigError
from gateway.http.events import FieldParts
from gateway.http.headers import RequestClassifier
from gateway.http.hsts import hsts_field
from gateway.http.identity_headers import IdentityHeaderWriter
from gateway.http.pages import Pages
from gateway.policy.engine import Engine
from gateway.policy.hosts import SiteIndex
from gateway.policy.networks import NetworkSet
from gateway.proxy.snapshot import SiteState, Snapshot
from gateway.proxy.upstream.addresses import is_address
from gateway.tls.contexts import build_site
from gateway.tls.judgements import JudgementCache
from gateway.tls.trust import KnownLists, trust_of

_NOTHING: Final[Mapping[str, KnownLists]] = MappingProxyType({})


def build_snapshot(
    config: Config, previous: Snapshot | None = None, known: Mapping[str, KnownLists] = _NOTHING
) -> Snapshot:
    """Read every file that serving needs and build the snapshot. Raises `ConfigError`.

    `known`: source → its revocation lists. A site with the same TLS settings as one in `previous` keeps its contexts.
    """
    kept_by = {} if previous is None else {state.tls.fingerprint: state.tls for state in previous.states}
    upstreams = {upstream.name: upstream for upstream in config.upstreams}
    states = []
    for site in config.sites:
        if site.upstream not in upstreams:
            raise ConfigError(
                f"sites: {site.name}: there is no upstream {site.upstream!r}",
                "write the name of one of `upstreams`",
            )
        tls = build_site(site, known=known)
        if (kept := kept_by.get(tls.fingerprint)) is not None:
            tls = replace(kept, site=site, trust=tls.trust)
        states.append(SiteState(site, tls, JudgementCache(tls.trust), upstreams[site.upstream], _hsts_of(site)))
    if any(site.ocsp.mode != "off" for site in config.sites):
        # Imported now and not at the first handshake: it takes a third of a second, and the workers, forks, share it.
        import gateway.proxy.ocsp.client  # noqa: PLC0415
    if any(not is_address(server.host) for upstream in config.upstreams for server in upstream.servers):
        import gateway.proxy.upstream.dns  # noqa: F401, PLC0415 - see above
    identity_headers, now = IdentityHeaderWriter(config.identity_headers), clock.unix_seconds()
    return Snapshot(
        config=config,
        # A rule that is enforced stays enforced, even if the clock is set back.
        engine=Engine(config.rules, config.networks, max(now, now if previous is None else previous.engine.now)),
        states=tuple(states),
        sites=_index(states),
        identity_headers=identity_headers,
        classify=RequestClassifier(identity_headers.names),
        pages=Pages(config.pages.contact, config.pages.directory),
        trusted_proxies=NetworkSet(config.trusted_proxies),
    )


def with_lists(snapshot: Snapshot, known: Mapping[str, KnownLists]) -> Snapshot:
    """The snapshot with other revocation lists; contexts, and sites whose lists are the same, stay. Opens no file."""
    states = tuple(_with_lists(state, known) for state in snapshot.states)
    if all(map(operator.is_, states, snapshot.states)):
        return snapshot
    return replace(snapshot, states=states, sites=_index(states))


def _with_lists(state: SiteState, known: Mapping[str, KnownLists]) -> SiteState:
    old = state.tls.trust
    if not state.site.crl or not known.keys() >= set(state.site.crl):
        return state
    try:
        trust = trust_of(state.site, old.anchors, known)
    except ConfigError:
        return state  # probably the list of a CA that is in the next configuration
    if trust.problems == old.problems and set(trust.lists) == set(old.lists):
        return state
    return replace(state, tls=replace(state.tls, trust=trust), judgements=JudgementCache(trust))


def _hsts_of(site: Site) -> FieldParts:
    if (hsts := site.hsts) is None:
        return ()
    return hsts_field(hsts.max_age_seconds, includes_subdomains=hsts.include_subdomains, is_preloaded=hsts.preload)


def _index(states: Sequence[SiteState]) -> SiteIndex[SiteState]:
    return SiteIndex([(host, state) for state in states for host in state.site.hosts])
