"""Finds every error that would keep a configuration from being served, with the entry that causes it.

A start stops at the first error; a check tries each part separately, so that one run finds all errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cryptography import x509

from gateway.config.model import Config, Site
from gateway.errors import ConfigError
from gateway.http.pages import Pages
from gateway.proxy.upstream.tls import upstream_tls
from gateway.tls.contexts import build_site
from gateway.tls.trust import anchors_in, is_url, load_lists


@dataclass(frozen=True, slots=True)
class Fault:
    """An error, and the entry of the configuration that causes it."""

    section: str  # sites, upstreams or pages
    line: int  # where the site or upstream begins in the file, 0 for pages
    key: str
    value: str | None  # the entry of `crl`, as it is in the configuration; None for other keys
    error: ConfigError


def faults_of(config: Config, *, has_keys: bool = True) -> Iterator[Fault]:
    """All errors that a start with this configuration would find. Fetched lists are never one.

    `has_keys`: the private keys were read. Without them, TLS contexts can't be tried.
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
