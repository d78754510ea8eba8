"""Checks the order of the rules: reports rules, and entries of rules, before which an earlier rule always matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.config.problems import Problems, listing, quote
from gateway.config.reach import Earlier, Reach
from gateway.config.reading import Value
from gateway.config.sites import SiteView
from gateway.facts import Action
from gateway.policy.hosts import HostPattern
from gateway.policy.matcher import single_addresses
from gateway.policy.networks import Network, NetworkSet
from gateway.policy.rules import Rule


class RuleOrder:
    """Collects the rules in their order."""

    def __init__(
        self,
        sites: Sequence[tuple[SiteView, tuple[HostPattern, ...]]],
        trusted_proxies: Sequence[Network],
        network_set: Callable[[tuple[str, ...]], NetworkSet | None],
        problems: Problems,
    ) -> None:
        """`network_set`: the addresses that entries of a rule's `from` mean."""
        self._sites = sites
        self._proxies = NetworkSet(trusted_proxies)
        self._network_set = network_set
        self._problems = problems
        self._earlier = Earlier()
        self._shown: list[str] = []  # the rules in `_earlier`: for messages, and as data
        self._filed: list[Rule] = []

    def add(self, value: Value, rule: Rule, reach: Reach) -> None:
        """Add a rule. Report it if it never matches, or if no certificate can satisfy it."""
        covering = self._covering(rule, reach)
        if covering is not None:
            self._never(value, (covering,))
        elif not self._shadowed(value, rule, reach):
            self._check_client_ca(value, rule, reach)
        self._earlier.add(reach)
        self._shown.append(f"{value.place.path} in line {rule.line}")
        self._filed.append(rule)

    def _covering(self, rule: Rule, reach: Reach) -> int | None:
        """The number of the earlier rule that always matches before this rule, or this part of it; None without one."""
        covering = self._earlier.covering(reach)
        if covering is not None and (self._filed[covering].action is Action.DENY or not self._is_for_a_proxy(rule)):
            return covering
        return None

    def _never(self, value: Value, covering: Sequence[int]) -> None:
        shown = [self._shown[each] for each in dict.fromkeys(covering)]
        verb = "matches" if len(shown) == 1 else "match"
        cause = f"the rule can never match, because {listing(shown, 'and')} always {verb} before it"
        self._problems.error(value.place, cause, "move it up, narrow the earlier one, or remove it")

    def _shadowed(self, value: Value, rule: Rule, reach: Reach) -> bool:
        """Report the entries of the rule's lists that never match. True if no entry of a list ever matches."""
        for key, parts in self._parts(value, rule, reach).items():
            found = [self._covering(rule, part) for _, part in parts] if len(parts) > 1 else []
            covering = [each for each in found if each is not None]
            if covering and len(covering) == len(parts):
                self._never(value, covering)
                return True
            for item, (shown, _), each in zip(value.items(key), parts, found, strict=False):
                if each is not None:
                    cause = f"{shown} can never match here, because {self._shown[each]} always matches before it"
                    remedy = "move the rule up, narrow the earlier one, or remove this entry"
                    self._problems.warning(item.place, cause, remedy)
        return False

    def _parts(self, value: Value, rule: Rule, reach: Reach) -> dict[str, list[tuple[str, Reach]]]:
        """For each list of the rule: its entries, and what the rule would match with only this entry."""
        networks = [(name, self._network_set((name,))) for name in rule.networks or ()]
        methods = [str(item.data) for item in value.items("methods")]
        return {
            "from": [(name, replace(reach, networks=each)) for name, each in networks],
            "hosts": [(host.text, replace(reach, hosts=(host,))) for host in reach.hosts or ()],
            "uri": [(pattern.text, replace(reach, uris=(pattern,))) for pattern in reach.uris or ()],
            "methods": [(name, replace(reach, methods=frozenset({name}))) for name in methods],
        }

    def _check_client_ca(self, value: Value, rule: Rule, reach: Reach) -> None:
        """Report a rule that asks for a certificate on a site without a CA."""
        if rule.action is not Action.REQUIRE_CERTIFICATE:
            return
        for view, hosts in self._sites:
            others = tuple(host for other, its in self._sites if other is not view for host in its)
            part = reach.on_site(hosts, others) if hosts and not view.has_client_ca else None
            if part is not None and self._earlier.covering(part) is None:
                cause = f"the site {quote(view.hosts[0])} has no client_ca, so no certificate could satisfy the rule"
                self._problems.error(
                    value.at("action"), cause, "add client_ca to the site, or write other hosts in the rule"
                )

    def _is_for_a_proxy(self, rule: Rule) -> bool:
        """True for a rule that lists a trusted proxy. Earlier rules don't match its requests that name no client."""
        return any(map(self._proxies.contains, single_addresses(rule.networks or ())))
