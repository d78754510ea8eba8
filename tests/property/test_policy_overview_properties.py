"""The table of what the rules let in says of each request what the engine decides."""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from test_policy_engine_properties import NETWORKS, _rules, requests, rule_conditions

from gateway.facts import Origin
from gateway.policy.engine import Engine
from gateway.policy.networks import NetworkSet
from gateway.policy.uri import parse_pattern

SITES = st.sampled_from([("*",), ("*.example", "a.example"), ("*.b.example", "b", "mail.example.com")])
PROXIES = [ip_network(text) for text in ("10.0.0.0/8", "10.1.2.0/24", "203.0.113.15", "203.0.113.0/28", "::/0")]
INTERNAL = NetworkSet(NETWORKS["internal"])


def entry_of(hosts, host):
    """That of the most exact pattern, as sites are found."""
    ranks = {"exact": 0, "wildcard": 1, "any": 2}
    found = [(ranks[pattern.kind], entry) for entry in hosts for pattern in entry.hosts if pattern.matches(host)]
    return min(found, key=lambda pair: pair[0])[1]


def path_of(paths, path):
    """The exact one; else the longest prefix; else the entry for every other path."""
    exact = [each for each in paths if each.pattern and each.pattern.kind == "exact" and each.pattern.matches(path)]
    prefixes = [each for each in paths if each.pattern and each.pattern.kind == "prefix" and each.pattern.matches(path)]
    if exact:
        return exact[0]
    return max(prefixes, key=lambda each: len(each.pattern.folded), default=paths[-1])


@given(
    st.lists(rule_conditions, max_size=8).map(_rules),
    SITES,
    st.lists(requests, min_size=1, max_size=10),
    st.lists(st.sampled_from(PROXIES), max_size=3),
    st.sampled_from([Origin.PROXY, Origin.UNNAMED]),
)
@settings(max_examples=200, deadline=None)
def test_each_request_is_decided_as_its_entry_says(rules, site, some, proxies, named):
    engine = Engine(rules, NETWORKS)
    hosts = engine.overview(site, proxies)
    trusted = NetworkSet(proxies)
    for one in some:
        is_proxy = trusted.contains(one.address)
        request = replace(one, origin=named if is_proxy else Origin.CLIENT)
        if not request.path or not any(pattern.matches(request.host) for each in hosts for pattern in each.hosts):
            continue
        (addresses,) = [
            each
            for each in entry_of(hosts, request.host).addresses
            if each.addresses.contains(request.address) and each.origin is request.origin
        ]
        assert addresses.is_inside is (INTERNAL.contains(request.address) and not is_proxy)
        entry = path_of(addresses.paths, request.path)
        by_method = next(
            each for each in entry.methods if each.methods is None or request.method.upper() in each.methods
        )
        expected = by_method.outcome
        expected = next(
            (outcome for text, outcome in by_method.regexes if parse_pattern(text).matches(request.path)), expected
        )
        decision = engine.decide(request)
        if expected.rule is None:
            assert decision.rule is None
        else:
            assert decision.line == expected.rule.line
