"""Whether a configuration could be served: everything that stands in the way, each at the entry that it comes from.

Serving stops at the first fault; a check tries each part apart, so that one run tells of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cryptography import x509

from gateway.config.model import Config, Site
from gateway.errors import ConfigError
from gateway.http.pages import Pages
from gateway.proxy.upstream_tls import upstream_tls
from gateway.tls.contexts import build_site
from gateway.tls.trust import anchors_in, is_url, load_lists


@dataclass(frozen=True, slots=True)
class Fault:
    """What stands in the way; `path` is the entry's in the file, with a site or upstream known by its line."""

    section: str  # sites, upstreams or pages
    line: int  # of the site or upstream, 0 for pages
    key: str
    value: str | None  # of a list's entry, as it is in the configuration
    error: ConfigError


def faults_of(config: Config, *, has_keys: bool = True) -> Iterator[Fault]:
    """All that serving this configuration would refuse. Fetched lists are never in the way.

    `has_keys`: the private keys were read; without them, TLS contexts are not tried.
    """
    for site in config.sites:
        yield from _of_site(site, has_keys=has_keys)
    for upstream in config.upstreams if has_keys else ():
        try:
            upstream_tls(upstream)
        except ConfigError as error:
            yield Fault("upstreams", upstream.line, "tls", None, error)
    try:
        Pages(config.pages.contact, config.pages.directory)
    except ConfigError as error:
        yield Fault("pages", 0, "directory", None, error)


def _of_site(site: Site, *, has_keys: bool) -> Iterator[Fault]:
    try:
        anchors = anchors_in(site.client_ca)
    except ConfigError as error:
        yield Fault("sites", site.line, "client_ca", None, error)
        return
    try:
        if has_keys:
            build_site(replace(site, crl=()))
    except ConfigError as error:
        yield Fault("sites", site.line, "certificate", None, error)
    yield from _of_lists(site, anchors)


def _of_lists(site: Site, anchors: Sequence[x509.Certificate]) -> Iterator[Fault]:
    for source in site.crl:
        if is_url(source):
            continue
        try:
            load_lists((source,), {}, anchors)
        except ConfigError as error:
            yield Fault("sites", site.line, "crl", source, error)
