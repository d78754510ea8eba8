"""The rules as a table: what is grouped, and in which order it is told."""

from ipaddress import ip_address, ip_network

import pytest
from support.rules import rule_of

from gateway.facts import Action, Origin
from gateway.policy.engine import Engine
from gateway.policy.networks import NetworkSet
from gateway.policy.rules import CertificateConditions

NETWORKS = {"internal": (ip_network("10.0.0.0/8"), ip_network("fd00::/8")), "office": (ip_network("203.0.113.0/28"),)}


def rule(name, action=Action.ALLOW, **conditions):
    certificate = CertificateConditions() if action is Action.REQUIRE_CERTIFICATE else None
    return rule_of(name=name, action=action, line=1, certificate=certificate, **conditions)


def shown(*rules, site=("mail.example.com",)):
    """(hosts, is inside, path, methods, rule, regular expressions before it), a line each."""
    return [
        (
            [pattern.name for pattern in host.hosts],
            entry.is_inside,
            path.pattern.text if path.pattern else None,
            by_method.methods,
            by_method.outcome.rule and by_method.outcome.rule.name,
            [(text, outcome.rule.name) for text, outcome in by_method.regexes],
        )
        for host in Engine(rules, NETWORKS).overview(site)
        for entry in host.addresses
        for path in entry.paths
        for by_method in path.methods
    ]


def paths(*rules):
    """(path, rule, regular expressions) of one kind of address."""
    return [(path, name, regexes) for _, is_inside, path, _, name, regexes in shown(*rules) if is_inside]


def test_without_rules_nothing_matches():
    (host,) = Engine([], NETWORKS).overview(["mail.example.com"])
    inside, outside = host.addresses
    assert (inside.is_inside, inside.addresses) == (True, NetworkSet(NETWORKS["internal"]))
    assert (outside.is_inside, outside.addresses) == (False, inside.addresses.complement())
    ((by_method,),) = (path.methods for path in outside.paths)
    assert (by_method.outcome.rule, by_method.outcome.action) == (None, Action.DENY)


def test_addresses_that_no_rule_tells_apart_are_one_entry():
    found = shown(rule("in", networks=("internal", "office")), rule("rest", Action.REQUIRE_CERTIFICATE))
    assert [(line[1], line[4]) for line in found] == [(True, "in"), (False, "rest"), (False, "in")]


def test_hosts_of_other_sites_are_left_out():
    rules = [rule("named", hosts=("a.example", "b.other", "*.other", "c.example")), rule("rest", Action.DENY)]
    engine = Engine(rules, NETWORKS)
    found = [pattern.name for host in engine.overview(["*"], (), ["a.example", "*.other"]) for pattern in host.hosts]
    assert found == ["", "c.example"]
    found = [pattern.name for host in engine.overview(["*.other"], (), ["*", "b.other"]) for pattern in host.hosts]
    assert found == ["other"]


def test_hosts_that_only_a_rule_names_are_told_apart_from_the_rest_of_a_wildcard():
    rules = rule("a", hosts=("a.example",)), rule("other", hosts=("x.other",)), rule("rest", Action.DENY)
    found = shown(*rules, site=("*.example", "*"))
    assert {tuple(line[0]): line[4] for line in found} == {
        ("example", ""): "rest",
        ("a.example",): "a",
        ("x.other",): "other",
    }
    (only,) = {tuple(line[0]) for line in shown(*rules, site=("mail.example.com",))}
    assert only == ("mail.example.com",)


def test_a_path_that_says_what_is_said_above_it_has_no_entry():
    assert paths(rule("one", uris=("/a", "/a/b", "=/a/c", "=/x")), rule("rest", Action.DENY)) == [
        ("=/x", "one", []),
        ("/a", "one", []),
        (None, "rest", []),
    ]
    assert paths(rule("deeper", uris=("/a/b",)), rule("above", uris=("/a",))) == [
        ("/a/b", "deeper", []),
        ("/a", "above", []),
        (None, None, []),
    ]


def test_trusted_proxies_without_a_client_meet_only_rules_that_list_them():
    rules = (
        rule("checks", networks=("10.0.0.9",), uris=("=/health",)),
        rule("blocked", Action.DENY, networks=("10.0.0.0/24",), uris=("/x",)),
        rule("inside", networks=("internal",)),
        rule("rest", Action.REQUIRE_CERTIFICATE),
    )
    (host,) = Engine(rules, NETWORKS).overview(["mail.example.com"], [ip_network("10.0.0.8/31")])
    proxies = [entry for entry in host.addresses if entry.origin is not Origin.CLIENT]
    assert [
        (
            entry.origin,
            entry.is_inside,
            networks_of(entry.addresses),
            [path.methods[0].outcome.rule and path.methods[0].outcome.rule.name for path in entry.paths],
        )
        for entry in proxies
    ] == [
        (Origin.UNNAMED, False, ["10.0.0.8"], ["blocked", None]),
        (Origin.UNNAMED, False, ["10.0.0.9"], ["checks", "blocked", None]),
        (Origin.PROXY, False, ["10.0.0.8"], ["blocked", "rest"]),
        (Origin.PROXY, False, ["10.0.0.9"], ["checks", "blocked", "rest"]),
    ]
    clients = [entry.addresses for entry in host.addresses if entry.origin is Origin.CLIENT]
    assert not any(addresses.contains(ip_address(f"10.0.0.{last}")) for addresses in clients for last in (8, 9))


def networks_of(addresses):
    return [str(ip_address(number)) for first, end in addresses.v4 for number in range(first, end)]


def test_methods_that_a_rule_names():
    found = shown(rule("read", methods=frozenset({"GET", "HEAD"})), rule("rest", Action.DENY))
    assert [line[3:5] for line in found if line[1]] == [(("GET", "HEAD"), "read"), (None, "rest")]


@pytest.mark.parametrize(
    ("regex", "where"),
    [
        ("~/a/[0-9]", ["/a/b", "/a"]),
        ("~/a/b/c", ["/a/b"]),
        ("~/a/?", ["/a/b", "/a", None]),
        ("~/x", [None]),
        ("~/a|/x", ["/a/b", "/a", None]),
        ("~.*z", ["/a/b", "/a", None]),
        ("~/A.*", ["/a/b", "/a", None]),
        ("~/(a|x)/.*", ["/a/b", "/a", None]),
        ("~/(x|(?:y))(/.*)?", ["/a/b", "/a", None]),
        ("~/(x|y)(/.*)?", [None]),
        ("~/a/(?:b|c)/d", ["/a/b", "/a"]),
        ("~^/[a]/b/c", ["/a/b"]),
        ("~/\\.x|/(y|z)", ["/a/b", "/a", None]),
        ("~/\\.x", [None]),
        ("~/(a|b|c|d|e|f|g|h|i)(a|b|c|d|e|f|g|h|i)/x", ["/a/b", "/a", None]),
    ],
)
def test_a_regular_expression_is_told_where_a_path_may_match_it(regex, where):
    found = paths(rule("regex", uris=(regex,)), rule("deep", uris=("/a/b",)), rule("a", uris=("/a",)), rule("rest"))
    assert [path for path, _, regexes in found if regexes == [(regex, "regex")]] == where


def test_a_regular_expression_that_comes_later_is_not_told():
    found = paths(rule("a", uris=("/a",)), rule("regex", uris=("~/.z",)), rule("rest"))
    assert found == [("/a", "a", []), (None, "rest", [("~/.z", "regex")])]


def test_one_for_every_path_is_a_rule_for_every_path():
    assert paths(rule("all", uris=("~/.*",)), rule("a", uris=("/a",))) == [(None, "all", [])]


def test_an_exact_path_either_matches_a_regular_expression_or_not():
    found = paths(rule("regex", uris=("~/a+",)), rule("exact", uris=("=/aa", "=/ab")), rule("rest", Action.DENY))
    assert found == [
        ("=/aa", "regex", []),
        ("=/ab", "exact", []),
        (None, "rest", [("~/a+", "regex")]),
    ]


def test_a_method_that_is_treated_like_the_others_has_no_line():
    found = shown(rule("read", methods=frozenset({"GET"}), uris=("/a",)), rule("rest", Action.DENY))
    assert [line[2:5] for line in found if line[1]] == [
        ("/a", ("GET",), "read"),
        ("/a", None, "rest"),
        (None, None, "rest"),
    ]
