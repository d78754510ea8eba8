"""The table of what the rules let in says of each request what the engine decides."""

from hypothesis import given, settings
from hypothesis import strategies as st
from test_policy_engine_properties import NETWORKS, _rules, requests, rule_conditions

from gateway.policy.engine import Engine
from gateway.policy.networks import NetworkSet
from gateway.policy.uri import parse_pattern

SITES = st.sampled_from([("*",), ("*.example", "a.example"), ("*.b.example", "b", "mail.example.com")])
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


@given(st.lists(rule_conditions, max_size=8).map(_rules), SITES, st.lists(requests, min_size=1, max_size=10))
@settings(max_examples=200, deadline=None)
def test_each_request_is_decided_as_its_entry_says(rules, site, some):
    engine = Engine(rules, NETWORKS)
    hosts = engine.overview(site)
    for request in some:
        if not request.path or not any(pattern.matches(request.host) for each in hosts for pattern in each.hosts):
            continue
        (addresses,) = [
            each for each in entry_of(hosts, request.host).addresses if each.addresses.contains(request.address)
        ]
        assert addresses.is_inside is INTERNAL.contains(request.address)
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
