"""The warnings of `gateway check --who`: effects of the rules that an admin may not expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from gateway.cli.who import Row, SiteAccess, count_in_words, inside, networks_in_words
from gateway.config.problems import listing
from gateway.facts import Action
from gateway.policy.networks import NetworkSet

if TYPE_CHECKING:
    from gateway.config.model import Config

MANY_ADDRESSES: Final = 65_536  # of a network outside that has its own rule: more than an office has
# Addresses of private networks only (RFC 1918, 4193, 6598, 3927, 4291; loopback).
_PRIVATE: Final = NetworkSet(
    map(
        ip_network,
        [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ],
    )
)


def surprises(config: Config, found: Sequence[SiteAccess]) -> Iterator[str]:
    """In the order of the sites; what concerns all comes first."""
    public = inside(config).minus(_PRIVATE)
    if any(public.counts):
        yield (
            f"{count_in_words(public)} of the Internet count as inside ({networks_in_words(public)}); clients there are"
            " treated like the office"
        )
    if config.trusted_proxies:
        proxies = networks_in_words(NetworkSet(config.trusted_proxies))
        yield (
            f"requests of the trusted proxies {proxies} are judged by the address in {config.trusted_proxies_header};"
            " without it, only a rule that names the proxy's own address lets them in"
        )
    hosts: dict[str, list[str]] = {}
    for site in found:
        for line in dict.fromkeys(_of_site(site)):
            hosts.setdefault(line, []).extend(site.hosts)
    yield from (f"{', '.join(names)}: {line}" for line, names in hosts.items())


def _of_site(site: SiteAccess) -> Iterator[str]:
    outside = [origin for origin in site.origins if not origin.is_inside and not origin.is_proxy]
    to_all = [row for origin in outside if origin.is_rest for row in origin.rows]
    for origin in outside:
        if origin.is_rest:
            yield from _open_paths(origin.rows, "everyone outside")
        elif origin.addresses.counts[1] > MANY_ADDRESSES:
            more = [row for row in origin.rows if row not in to_all or row.action is not Action.ALLOW]
            yield from _open_paths(more, f"{origin.name}: {count_in_words(origin.addresses)}")
    for origin in site.origins:
        if origin.is_rest and all(row.action is Action.DENY for row in origin.rows):
            yield f"no request from {origin.name} is let in"
    rows = [row for origin in site.origins for row in origin.rows]
    if not site.has_client_ca and any(row.action is Action.REQUIRE_CERTIFICATE for row in rows):
        yield "rules ask for a certificate, but the site has no client_ca, so no certificate is trusted"


def _open_paths(rows: Sequence[Row], who: str) -> Iterator[str]:
    """The paths that need no certificate, a line for each rule."""
    paths: dict[str, dict[str, dict[str, None]]] = {}
    asking = [row.path for row in rows if row.action is Action.REQUIRE_CERTIFICATE]
    for row in rows:
        if row.action is Action.ALLOW:
            above = _asking_above(row, asking)
            although = f", although {above} asks for one" if above else ""
            observed = f"; in observation, {row.observation}" if row.observation else ""
            by_method = paths.setdefault(f"{although}: {row.rule}{observed}", {})
            by_method.setdefault(row.of_methods, {})[row.in_words] = None
    for rest, by_method in paths.items():
        for methods, names in by_method.items():
            what = f"{methods} of {listing(names, 'and')}" if methods else listing(names, "and")
            yield f"{what} {'is' if len(names) == 1 else 'are'} open without a certificate to {who}{rest}"


def _asking_above(row: Row, asking: Sequence[str]) -> str | None:
    """The path that asks for a certificate and has this one below it."""
    path = row.path.removeprefix("=").lower()
    found = (other for other in asking if path.startswith(f"{other.rstrip('/').lower()}/"))
    return max(found, key=len, default=None)
