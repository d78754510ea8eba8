"""One rule with resolved networks: whether it matches a request, and what it decides.

Keeps true: all conditions of a rule must hold, and a condition that is left out always holds. This is the
plain meaning of a rule. `index` finds the same answer faster, and a property test checks that both are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from math import inf
from typing import assert_never

from gateway.errors import PatternError
from gateway.facts import Action, Address, Decision, Origin, Reason, Request, parse_address
from gateway.policy.conditions import Conditions
from gateway.policy.hosts import HostPattern
from gateway.policy.networks import Network, NetworkSet, named
from gateway.policy.rules import CertificateConditions, Rule
from gateway.policy.uri import UriPattern


@dataclass(frozen=True, slots=True)
class Matcher:
    """A rule with its networks resolved and its conditions prepared; None stands for "every"."""

    rule: Rule
    networks: NetworkSet | None
    addresses: frozenset[Address]  # that `from` lists one by one, not as part of a network or by a name
    hosts: tuple[HostPattern, ...] | None
    uris: tuple[UriPattern, ...] | None
    methods: frozenset[str] | None
    conditions: Conditions
    usual: Decision  # what the rule decides unless the certificate fails a condition
    is_observed: bool  # the rule lets in requests that it would refuse, and reports why it would

    def at(self, now: float) -> Matcher:
        """The same rule at `now`, in Unix seconds. A rule that has begun to refuse never stops again."""
        is_over = self.is_observed and self.rule.refuses_at(now)
        return replace(self, is_observed=False) if is_over else self

    def is_from(self, address: Address) -> bool:
        """Whether the rule is for clients at this address."""
        return self.networks is None or self.networks.contains(address)

    def is_from_client(self, request: Request) -> bool:
        """Whether the rule is for the request's client. A proxy's address isn't that of a client it doesn't name."""
        if self.must_list(request):
            return request.address in self.addresses
        return self.is_from(request.address)

    def must_list(self, request: Request) -> bool:
        """Whether the rule matches only if it lists the address, which is a trusted proxy's and not a client's."""
        return request.origin is not Origin.CLIENT and self.rule.action in request.origin.value

    def is_for_host(self, host: str) -> bool:
        """Whether the rule is for this normalised host."""
        return self.hosts is None or any(pattern.matches(host) for pattern in self.hosts)

    def is_for_path(self, path: str) -> bool:
        """Whether the rule is for this path, in its match form."""
        return self.uris is None or any(pattern.matches(path) for pattern in self.uris)

    def is_for_method(self, method: str) -> bool:
        """Whether the rule is for this method. Case is ignored, because some servers ignore it."""
        return self.methods is None or method.upper() in self.methods

    def matches(self, request: Request) -> bool:
        """Whether all conditions of the rule hold."""
        return (
            self.is_from_client(request)
            and self.is_for_host(request.host)
            and self.is_for_path(request.path)
            and self.is_for_method(request.method)
        )

    @property
    def covers_every_request(self) -> bool:
        """Whether the rule matches every request with its addresses and hosts."""
        return self.methods is None and (
            self.uris is None or any(pattern.kind == "prefix" and not pattern.folded for pattern in self.uris)
        )

    def verdict(self, request: Request) -> Decision:
        """The rule's decision on a request that it matches."""
        if self.rule.action is not Action.REQUIRE_CERTIFICATE:
            return self.usual
        judgement = request.judgement
        if judgement.identity is None or judgement.reason is not None:
            return self._refusal(request, judgement.reason or Reason.CERTIFICATE_MISSING, judgement.detail)
        if (failure := self.conditions.check(judgement.identity, request)) is not None:
            return self._refusal(request, failure.reason, failure.detail)
        return self.usual

    def _refusal(self, request: Request, reason: Reason, detail: str) -> Decision:
        """The decision if the certificate doesn't satisfy the rule. In observation, that of a rule with `allow`."""
        refusal = _decision(self.rule, reason, detail)
        if not self.is_observed:
            return refusal
        if request.origin is not Origin.CLIENT and request.address not in self.addresses:
            return refusal  # the client is not known, and `allow` would not match
        return replace(refusal, reason=None, observed=reason)


def prepare(rule: Rule, networks: Mapping[str, Sequence[Network]], now: float = inf) -> Matcher:
    """Resolve a rule's networks and prepare its conditions.

    Raises `PatternError`, so that a rule that can't work is never skipped silently.
    """
    if rule.certificate is not None and rule.action is not Action.REQUIRE_CERTIFICATE:
        raise PatternError(
            f"rule {rule.name!r} has certificate conditions and action {rule.action.value}",
            "write action: require_certificate, or remove certificate",
        )
    return Matcher(
        rule=rule,
        networks=None if rule.networks is None else _union(rule.networks, networks),
        addresses=frozenset(single_addresses(rule.networks or ())),
        hosts=rule.hosts,
        uris=rule.uris,
        methods=None if rule.methods is None else frozenset(method.upper() for method in rule.methods),
        conditions=Conditions(rule.certificate or CertificateConditions()),
        usual=_usual(rule),
        is_observed=rule.action is Action.REQUIRE_CERTIFICATE and not rule.refuses_at(now),
    )


def _usual(rule: Rule) -> Decision:
    match rule.action:
        case Action.ALLOW:
            return _decision(rule, None, "allowed without a certificate")
        case Action.DENY:
            return _decision(rule, Reason.DENIED_BY_RULE, "denied by the rule")
        case Action.REQUIRE_CERTIFICATE:
            return _decision(rule, None, "the certificate satisfies the rule")
    assert_never(rule.action)


def _decision(rule: Rule, reason: Reason | None, detail: str) -> Decision:
    return Decision(rule.action, reason, rule.name, rule.line, detail)


def single_addresses(items: Iterable[str]) -> Iterator[Address]:
    """The addresses among the entries of a `from`: `10.0.0.9`, `10.0.0.9/32`, `fd00::9/128`."""
    for item in items:
        try:
            network = ip_network(item)
        except ValueError:  # a network's name
            continue
        if network.num_addresses == 1:
            yield parse_address(str(network.network_address))


def _union(items: Sequence[str], networks: Mapping[str, Sequence[Network]]) -> NetworkSet:
    united = NetworkSet()
    for item in items:
        united = united.union(named(item, networks))
    return united
