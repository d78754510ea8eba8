"""`gateway check --who`: what is open from where, in words, from the rules as the gateway itself applies them.

Keeps true: this module decides nothing. Each line is an entry of the engine's overview, which groups only requests
that the rules treat alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range
from typing import TYPE_CHECKING, Any, Final

from gateway.config.observation import is_observed, outlook
from gateway.facts import Action
from gateway.facts import Origin as RequestOrigin
from gateway.policy.engine import Engine
from gateway.policy.matcher import single_addresses
from gateway.policy.networks import EXTERNAL, INTERNAL, NetworkSet, named

if TYPE_CHECKING:
    from gateway.config.model import Config, Site
    from gateway.policy.networks import Network
    from gateway.policy.overview import AddressEntry, ByMethod, Outcome, PathEntry
    from gateway.policy.rules import CertificateConditions, Rule

PROTOCOL: Final = "https"
EVERY_OTHER_PATH: Final = "every other path"
EVERY_PATH: Final = "every path"
OTHER_METHODS: Final = "other methods"
ACCESS: Final = {
    Action.ALLOW: "without a certificate",
    Action.REQUIRE_CERTIFICATE: "with a certificate",
    Action.DENY: "never",
}
_PROXIES: Final = {
    RequestOrigin.UNNAMED: "trusted proxies, where they name no client",
    RequestOrigin.PROXY: "trusted proxies, where they name only each other",
}
_SHOWN_NETWORKS: Final = 4
_V6_SUBNET_BITS: Final = 64  # what one subscriber has
_EXACT_BELOW: Final = 10**12


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    path: str  # as the rule writes it, or words
    methods: str  # "" for all
    outcome: Outcome
    is_observed: bool  # the rule is in observation: it refuses nothing
    is_exception: bool = False  # a regular expression that is asked before the rule of the last row without this mark
    is_of_all_methods: bool = True  # the path has the same access by every method
    is_of_other_paths: bool = False  # an exception from the line for every other path, and from no other line

    @property
    def action(self) -> Action:
        """What the rule does now: one in observation is open."""
        return Action.ALLOW if self.is_observed else self.outcome.action

    @property
    def in_words(self) -> str:
        """The path for a sentence. What matches an expression may also be below a path with a line of its own."""
        return f"{EVERY_OTHER_PATH} that matches {self.path}" if self.is_of_other_paths else self.path

    @property
    def of_methods(self) -> str:
        """The methods, where others have another access."""
        return "" if self.is_of_all_methods else self.methods

    @property
    def access(self) -> str:
        """What gets in, in words."""
        return ACCESS[self.action]

    @property
    def observation(self) -> str:
        """What will change for a rule in observation."""
        return outlook(self.outcome.rule) if self.outcome.rule is not None and self.is_observed else ""

    @property
    def rule(self) -> str:
        """The rule that decides, with its line."""
        if self.outcome.rule is None:
            return "no rule matches"
        return f"{self.outcome.rule.name} (line {self.outcome.rule.line})"

    @property
    def conditions(self) -> str:
        """What the rule asks of the certificate."""
        rule = self.outcome.rule
        return "" if rule is None or rule.certificate is None else ", ".join(_conditions(rule.certificate))


@dataclass(frozen=True, slots=True)
class Origin:
    """Addresses that have the same access."""

    name: str  # "outside", "inside", "office", "203.0.113.0/28", "10.0.0.9 (trusted proxy)"
    is_inside: bool
    is_rest: bool  # the largest part of what is inside or outside
    addresses: NetworkSet
    rows: tuple[Row, ...]
    is_proxy: bool = False  # requests of trusted proxies for which no client is known


@dataclass(frozen=True, slots=True)
class SiteAccess:
    """Hosts of a site that have the same access."""

    hosts: tuple[str, ...]
    has_client_ca: bool
    origins: tuple[Origin, ...]


def access_of(config: Config, now: datetime) -> tuple[SiteAccess, ...]:
    """Who gets in at `now`, for each site."""
    engine = Engine(config.rules, config.networks)
    return tuple(found for site in config.sites for found in _of_site(config, engine, site, now))


def _of_site(config: Config, engine: Engine, site: Site, now: datetime) -> Iterator[SiteAccess]:
    others = (host for other in config.sites if other is not site for host in other.hosts)
    for entry in engine.overview(site.hosts, config.trusted_proxies, others):
        hosts = tuple(_host(pattern.kind, pattern.name) for pattern in entry.hosts)
        yield SiteAccess(hosts, bool(site.client_ca), tuple(_origins(config, entry.addresses, now)))


def _host(kind: str, name: str) -> str:
    match kind:
        case "any":
            return "every other host"
        case "wildcard":
            return f"*.{name}"
        case _:
            return name


def _origins(config: Config, entries: Sequence[AddressEntry], now: datetime) -> Iterator[Origin]:
    """Outside first: that matters most."""
    seen: set[bool] = set()
    clients = [entry for entry in entries if entry.origin is RequestOrigin.CLIENT]
    for entry in sorted(clients, key=lambda entry: entry.is_inside):  # keeps the larger one first
        is_rest = entry.is_inside not in seen
        seen.add(entry.is_inside)
        name = ("inside" if entry.is_inside else "outside") if is_rest else _name(config, entry.addresses)
        yield Origin(name, entry.is_inside, is_rest, entry.addresses, tuple(_rows(entry, now)))
    yield from _proxies(config, entries, now)


def _proxies(config: Config, entries: Sequence[AddressEntry], now: datetime) -> Iterator[Origin]:
    known: list[tuple[NetworkSet, tuple[PathEntry, ...]]] = []
    for entry in entries:
        if entry.origin is RequestOrigin.CLIENT or (entry.addresses, entry.paths) in known:
            continue
        known.append((entry.addresses, entry.paths))
        name = f"{_name(config, entry.addresses)} ({_PROXIES[entry.origin]})"
        yield Origin(name, False, False, entry.addresses, tuple(_rows(entry, now)), is_proxy=True)


def _name(config: Config, addresses: NetworkSet) -> str:
    for name, networks in config.networks.items():
        if NetworkSet(networks) == addresses:
            return f"{name} ({networks_in_words(addresses)})"
    if len(networks_of(addresses)) > _SHOWN_NETWORKS + 1:
        return _name_of_most(config, addresses)
    return networks_in_words(addresses)


def _name_of_most(config: Config, addresses: NetworkSet) -> str:
    """`10.0.0.0/8 without 10.0.0.9`, where a network in the file has these and few others."""
    written = {item for rule in config.rules for item in rule.networks or () if item not in config.networks}
    wholes = {name: NetworkSet(networks) for name, networks in config.networks.items()}
    wholes |= {item: named(item, config.networks) for item in sorted(written - {EXTERNAL})}
    for name, whole in wholes.items():
        others = networks_of(whole.minus(addresses))
        if len(others) <= _SHOWN_NETWORKS and not any(addresses.minus(whole).counts):
            return f"{name} without {networks_in_words(whole.minus(addresses))}"
    return networks_in_words(addresses)


def _rows(entry: AddressEntry, now: datetime) -> Iterator[Row]:
    below: dict[str, set[str]] = {}  # a regular expression → the paths from whose lines it is an exception
    found: list[Row] = []
    for each in entry.paths:
        path = each.pattern.text if each.pattern else EVERY_PATH if len(entry.paths) == 1 else EVERY_OTHER_PATH
        rows: list[Row] = []
        for by_method in each.methods:
            methods = _methods(by_method, each.methods)
            rows.append(_row(path, methods, by_method.outcome, entry, now))
            for text, outcome in _exceptions(by_method):
                below.setdefault(text, set()).add(path)
                rows.append(replace(_row(text, methods, outcome, entry, now), is_exception=True))
        for row in rows:
            same = [other for other in rows if (other.path, other.is_exception) == (row.path, row.is_exception)]
            is_of_all = len(same) == len(each.methods) and len({other.access for other in same}) == 1
            found.append(replace(row, is_of_all_methods=is_of_all))
    for row in found:
        is_of_other = row.is_exception and below[row.path] == {EVERY_OTHER_PATH}
        yield replace(row, is_of_other_paths=True) if is_of_other else row


def _row(path: str, methods: str, outcome: Outcome, entry: AddressEntry, now: datetime) -> Row:
    rule = outcome.rule
    observed = rule is not None and is_observed(rule, now) and _may_observe(rule, entry)
    return Row(path, methods, outcome, observed)


def _may_observe(rule: Rule, entry: AddressEntry) -> bool:
    """A rule in observation lets in a request without a client only where it lists the proxy."""
    return entry.origin is RequestOrigin.CLIENT or entry.addresses.only_one in set(
        single_addresses(rule.networks or ())
    )


def _methods(by_method: ByMethod, all_of_path: Sequence[ByMethod]) -> str:
    if by_method.methods is None:
        return OTHER_METHODS if len(all_of_path) > 1 else ""
    return ", ".join(by_method.methods)


def _exceptions(by_method: ByMethod) -> list[tuple[str, Outcome]]:
    """Without those at the end that decide as the path's own rule does."""
    found = list(by_method.regexes)
    while found and found[-1][1] == by_method.outcome:
        found.pop()
    return found


def _conditions(asked: CertificateConditions) -> Iterator[str]:
    if asked.ca_fingerprints is not None:
        yield "a certificate of a listed CA"
    yield from (f"subject {name}={value}" for name, value in asked.subject)
    if asked.emails:
        yield f"email {' or '.join(asked.emails)}"
    if asked.fingerprints_sha256:
        yield _one_of(len(asked.fingerprints_sha256), "certificate")
    if asked.bind_user is not None:
        yield f"login bound to it ({asked.bind_user})"
    if asked.device_ids:
        yield _one_of(len(asked.device_ids), "device")


def _one_of(number: int, name: str) -> str:
    return f"the listed {name}" if number == 1 else f"one of the {number:,} listed {name}s"


def networks_in_words(addresses: NetworkSet, most: int = _SHOWN_NETWORKS) -> str:
    """`10.0.0.0/8, 192.0.2.1 and 3 more`."""
    found = [
        str(network.network_address if network.num_addresses == 1 else network) for network in networks_of(addresses)
    ]
    if len(found) > most + 1:
        return f"{', '.join(found[:most])} and {len(found) - most:,} more"
    return ", ".join(found)


def networks_of(addresses: NetworkSet) -> list[Network]:
    """As CIDRs."""
    v4 = (
        network
        for first, end in addresses.v4
        for network in summarize_address_range(IPv4Address(first), IPv4Address(end - 1))
    )
    v6 = (
        network
        for first, end in addresses.v6
        for network in summarize_address_range(IPv6Address(first), IPv6Address(end - 1))
    )
    return [*v4, *v6]


def count_in_words(addresses: NetworkSet) -> str:
    """`17,891,328 IPv4 addresses and 1,024 IPv6 networks of /64`."""
    v6, v4 = addresses.counts
    parts = []
    if v4:
        parts.append(f"{v4:,} IPv4 address{'' if v4 == 1 else 'es'}")
    if (subnets := v6 >> _V6_SUBNET_BITS) > 1:
        parts.append(f"{_large(subnets)} IPv6 networks of /64")
    elif v6:
        parts.append(f"{_large(v6)} IPv6 address{'' if v6 == 1 else 'es'}")
    return " and ".join(parts) or "no address"


def _large(number: int) -> str:
    if number < _EXACT_BELOW:
        return f"{number:,}"
    digits, exponent = f"{number:.1e}".split("e+")
    return f"{digits} × 10^{int(exponent)}"


def inside(config: Config) -> NetworkSet:
    """What counts as inside."""
    return NetworkSet(config.networks[INTERNAL])


def inside_in_words(config: Config, most: int) -> str:
    """The networks that count as inside: as the file has them, without the addresses of a container's own network."""
    taken = config.not_inside
    whole = networks_in_words(NetworkSet([*config.networks[INTERNAL], *map(ip_network, taken)]), most)
    return f"{whole}; without {', '.join(map(str, taken))}" if taken else whole


def document(config: Config, found: Sequence[SiteAccess], warnings: Sequence[str]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "inside": _addresses_document(inside(config)),
        "sites": [
            {
                "hosts": list(site.hosts),
                "protocol": PROTOCOL,
                "from": [
                    {"name": origin.name, "is_inside": origin.is_inside, "is_proxy": origin.is_proxy}
                    | _addresses_document(origin.addresses)
                    | {"paths": [_row_document(row) for row in origin.rows]}
                    for origin in site.origins
                ],
            }
            for site in found
        ],
        "warnings": list(warnings),
    }


def _addresses_document(addresses: NetworkSet) -> dict[str, Any]:
    v6, v4 = addresses.counts
    return {
        "networks": [str(network) for network in networks_of(addresses)],
        "ipv4_addresses": v4,
        "ipv6_addresses": v6,
    }


def _row_document(row: Row) -> dict[str, Any]:
    rule = row.outcome.rule
    return {
        "path": row.path,
        "methods": row.methods or None,
        "is_exception": row.is_exception,
        "access": row.action.value,
        "observation": row.observation or None,
        "rule": rule and rule.name,
        "line": rule and rule.line,
        "conditions": row.conditions or None,
    }
