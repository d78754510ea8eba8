"""The rules as a whole: the first that matches decides, and where none does, nobody comes in.

Kept true here: `decide` gives what the plain loop `decide_plain` gives, for every request and any number of
rules; a certificate is asked for whenever some rule could require one, and never else. A rule in observation lets in
nothing that the same rule with `allow` would not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

MAX_SHOWN_CHARACTERS: Final = 120  # of a path in a decision's detail, which is one line of a page

_ORIGINS: Final = {
    Origin.UNNAMED: "the trusted proxy {} named no client, so only a rule whose from lists its own address lets it in",
    Origin.PROXY: "{} is a trusted proxy, so only a rule whose from lists it lets it in without a certificate",
}


class Engine:
    """Rules made ready to decide. Immutable; one for each configuration that is loaded."""

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

        `now`, in Unix seconds, says which rules are in observation. Without it only those that are so for good.
        """
        self.now = now
        self._matchers = tuple(prepare(rule, networks, now) for rule in rules)
        self.changes_at = self._next_change()  # Unix seconds; `at` gives another engine from then on
        self._index = RuleIndex(self._matchers)
        self._internal = NetworkSet(networks.get(INTERNAL, ()))
        # Whether any rule looks at the mail login or the device; where none does, neither need be read to decide.
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
        """The same rules at a later time: those whose day has come refuse. An earlier `now` opens nothing again."""
        later = copy(self)
        later.now = max(now, self.now)
        later._matchers = tuple(matcher.at(now) for matcher in self._matchers)
        later.changes_at = later._next_change()
        return later

    def decide(self, request: Request) -> Decision:
        """What the rules say of a request, at a cost that hardly grows with their number."""
        if (
            request.origin is not Origin.CLIENT
        ):  # a balancer's health checks: few, and told apart by other rules than clients
            return self.decide_plain(request)
        number = self._index.first(request)
        return NO_RULE if number < 0 else self._matchers[number].verdict(request)

    def decide_plain(self, request: Request) -> Decision:
        """The same by going through the rules one by one: what `decide` is held against."""
        matching = next((matcher for matcher in self._matchers if matcher.matches(request)), None)
        decision = NO_RULE if matching is None else matching.verdict(request)
        if request.origin is Origin.CLIENT or decision.reason is None:
            return decision
        return replace(decision, detail=f"{decision.detail}; {_ORIGINS[request.origin].format(request.address)}")

    def overview(self, site_hosts: Sequence[str]) -> tuple[HostEntry, ...]:
        """What becomes of all requests to a site."""
        return overview(self._matchers, self._index, tuple(map(parse_host_pattern, site_hosts)), self._internal)

    def decide_every(self, request: Request, readings: Sequence[str]) -> Decision:
        """What the rules say of a path that servers read in several ways: it has to be let in in each of them."""
        strictest = self.strictest(request, readings)
        decision = self.decide(strictest)
        if strictest is request:
            return decision
        return replace(
            decision, detail=f"{decision.detail}; some servers read the path as {_shortened(strictest.path)}"
        )

    def strictest(self, request: Request, readings: Sequence[str]) -> Request:
        """The request with the first of its readings that is refused, or else observed; as it is where none is."""
        observed: Request | None = None
        for one in (request, *(replace(request, path=reading) for reading in readings)):
            decision = self.decide(one)
            if decision.reason is not None:
                return one
            if decision.observed is not None and observed is None:
                observed = one
        return observed or request

    def trace(self, request: Request) -> tuple[Step, ...]:
        """Every rule up to the one that decides, with what became of each of its conditions."""
        return trace(self._matchers, request)

    def asks_for_certificate(self, address: Address | None, host: str | None, site_hosts: tuple[str, ...]) -> bool:
        """Whether some rule could require a certificate of a client, known by its address and TLS server name.

        Without an address (None: a trusted proxy, which may name any client) no network is ruled out, and without a
        server name (`host` None) any of the site's hosts may follow. A rule that covers whatever may
        follow ends the search: what stands below it never decides.
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
        """The rules for some host of a site, and those for all of them; worked out once for each site."""
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
