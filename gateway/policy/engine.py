"""All rules together: the first rule that matches decides, and a request that matches no rule is denied.

Keeps true: `decide` returns the same as the plain loop `decide_plain`, for every request and any number
of rules. A certificate is asked for if some rule could require one, and only then. A rule in observation lets in no
request that the same rule with `allow` would not let in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from math import inf
from typing import Final

from gateway.facts import Action, Address, Decision, Origin, Reason, Request
from gateway.policy.hosts import HostPattern, parse_host_pattern
from gateway.policy.index import RuleIndex
from gateway.policy.matcher import Matcher, prepare
from gateway.policy.networks import INTERNAL, Network, NetworkSet
from gateway.policy.overview import HostEntry, overview
from gateway.policy.rules import Rule
from gateway.policy.trace import Step, trace

NO_RULE: Final = Decision(Action.DENY, Reason.NO_RULE, None, None, "no rule matches, so the request is denied")

MAX_SHOWN_CHARACTERS: Final = 120  # of a path in a decision's detail, which is one line on a page

_ORIGINS: Final = {
    Origin.UNNAMED: "the trusted proxy {} named no client, so only a rule whose "
    "from lists its own address lets the request in",
    Origin.PROXY: "{} is a trusted proxy, so only a rule whose from lists it lets the request in without a certificate",
}


class Engine:
    """The rules of one loaded configuration, with parsed patterns and an index. Immutable."""

    __slots__ = (
        "_certificate_bits",
        "_covering_bits",
        "_everywhere_bits",
        "_index",
        "_internal",
        "_matchers",
        "_sites",
        "changes_at",
        "needs_login",
        "now",
    )

    def __init__(self, rules: Sequence[Rule], networks: Mapping[str, Sequence[Network]], now: float = inf) -> None:
        """`networks` are resolved, without `external`. Raises `PatternError` for a rule that cannot work.

        `now`, in Unix seconds, decides which rules are in observation. By default only those with `enforce: false` are.
        """
        self.now = now
        self._matchers = tuple(prepare(rule, networks, now) for rule in rules)
        self.changes_at = self._next_change()  # Unix seconds; from then on `at` returns another engine
        self._index = RuleIndex(self._matchers)
        self._internal = NetworkSet(networks.get(INTERNAL, ()))
        # Whether any rule needs the mail login or the device. If not, they need not be read to decide.
        self.needs_login: bool = any(matcher.conditions.needs_login for matcher in self._matchers)
        self._sites: dict[tuple[str, ...], tuple[int, int]] = {}  # as many as there are sites
        self._certificate_bits = 0
        self._covering_bits = 0
        self._everywhere_bits = 0
        for number, matcher in enumerate(self._matchers):
            self._certificate_bits |= (matcher.rule.action is Action.REQUIRE_CERTIFICATE) << number
            self._covering_bits |= matcher.covers_every_request << number
            self._everywhere_bits |= (matcher.networks is None) << number

    def _next_change(self) -> float:
        return min((matcher.rule.enforced_from for matcher in self._matchers if matcher.is_observed), default=inf)

    def at(self, now: float) -> Engine:
        """The same rules at a later time: those whose day has come refuse. With an earlier `now` they still refuse."""
        later = copy(self)
        later.now = max(now, self.now)
        later._matchers = tuple(matcher.at(now) for matcher in self._matchers)
        later.changes_at = later._next_change()
        return later

    def decide(self, request: Request) -> Decision:
        """The rules' decision on a request, at a cost that hardly grows with the number of rules."""
        # A balancer's health checks. They are few, and rules match them in another way than clients' requests.
        if request.origin is not Origin.CLIENT:
            return self.decide_plain(request)
        number = self._index.first(request)
        return NO_RULE if number < 0 else self._matchers[number].verdict(request)

    def decide_plain(self, request: Request) -> Decision:
        """The same decision, by trying the rules one by one. Tests compare `decide` with it."""
        matching = next((matcher for matcher in self._matchers if matcher.matches(request)), None)
        decision = NO_RULE if matching is None else matching.verdict(request)
        if request.origin is Origin.CLIENT or decision.reason is None:
            return decision
        return replace(decision, detail=f"{decision.detail}; {_ORIGINS[request.origin].format(request.address)}")

    def overview(
        self, site_hosts: Sequence[str], proxies: Sequence[Network] = (), others: Iterable[str] = ()
    ) -> tuple[HostEntry, ...]:
        """The decisions on all requests to a site; `proxies` are the trusted ones, `others` the other sites' hosts."""
        hosts, theirs = (tuple(map(parse_host_pattern, texts)) for texts in (site_hosts, others))
        return overview(self._matchers, self._index, hosts, self._internal, NetworkSet(proxies), theirs)

    def decide_every(self, request: Request, readings: Sequence[str]) -> Decision:
        """The decision on a path that servers read in several ways: the rules must let in every reading."""
        strictest = self.strictest(request, readings)
        decision = self.decide(strictest)
        if strictest is request:
            return decision
        return replace(
            decision, detail=f"{decision.detail}; some servers read the path as {_shortened(strictest.path)}"
        )

    def strictest(self, request: Request, readings: Sequence[str]) -> Request:
        """The request with its first reading that is refused, or else observed; unchanged if all are let in."""
        observed: Request | None = None
        for one in (request, *(replace(request, path=reading) for reading in readings)):
            decision = self.decide(one)
            if decision.reason is not None:
                return one
            if decision.observed is not None and observed is None:
                observed = one
        return observed or request

    def trace(self, request: Request) -> tuple[Step, ...]:
        """Every rule up to the one that decides, and for each of its conditions whether it holds."""
        return trace(self._matchers, request)

    def asks_for_certificate(self, address: Address | None, host: str | None, site_hosts: tuple[str, ...]) -> bool:
        """Whether some rule could require a certificate of a client with this address and TLS server name.

        Without an address (None: a trusted proxy, which may name any client) every network is possible. Without a
        server name (`host` None) every host of the site is possible. The search ends at a rule that matches every
        request that is still possible, because the rules below it never decide.
        """
        if host is not None:
            possible = covered = self._index.by_host(host)
        else:
            possible, covered = self._by_site(site_hosts)
        if address is None:
            covered &= self._everywhere_bits
        else:
            here = self._index.by_address(address)
            possible, covered = possible & here, covered & here
        asking = possible & self._certificate_bits
        ending = covered & self._covering_bits
        first_end = ending & -ending
        return bool(asking and (not ending or asking & -asking <= first_end))

    def _by_site(self, site_hosts: tuple[str, ...]) -> tuple[int, int]:
        """The rules for at least one host of a site, and the rules for all its hosts; computed once for each site."""
        if (known := self._sites.get(site_hosts)) is not None:
            return known
        site = tuple(map(parse_host_pattern, site_hosts))
        possible = covered = 0
        for number, matcher in enumerate(self._matchers):
            possible |= _is_for_some(matcher, site) << number
            covered |= _is_for_all(matcher, site) << number
        self._sites[site_hosts] = possible, covered
        return possible, covered


def _shortened(path: str) -> str:
    return path if len(path) <= MAX_SHOWN_CHARACTERS else path[: MAX_SHOWN_CHARACTERS - 1] + "…"


def _is_for_some(matcher: Matcher, site: tuple[HostPattern, ...]) -> bool:
    return matcher.hosts is None or any(ours.meets(theirs) for ours in matcher.hosts for theirs in site)


def _is_for_all(matcher: Matcher, site: tuple[HostPattern, ...]) -> bool:
    return matcher.hosts is None or all(any(ours.covers(theirs) for ours in matcher.hosts) for theirs in site)
