"""Which rules an earlier one covers: always right where it says so, checked against the requests themselves."""

import random
from ipaddress import ip_network
from itertools import product

import pytest

from gateway.config.reach import Earlier, Reach, narrower
from gateway.policy.hosts import parse_host_pattern
from gateway.policy.networks import NetworkSet, named
from gateway.policy.uri import parse_pattern

NETWORKS = {"internal": [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]}


def reach(networks=None, hosts=None, uris=None, methods=None):
    network_set = None
    if networks is not None:
        network_set = NetworkSet()
        for item in networks.split():
            network_set = network_set.union(named(item, NETWORKS))
    return Reach(
        network_set,
        None if hosts is None else tuple(map(parse_host_pattern, hosts.split())),
        None if uris is None else tuple(map(parse_pattern, uris.split())),
        None if methods is None else frozenset(methods.split()),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({}, {"networks": "internal", "hosts": "a", "uris": "/x", "methods": "GET"}),
        ({"networks": "internal"}, {"networks": "10.1.0.0/16"}),
        ({"networks": "internal external"}, {}),
        ({"networks": "0.0.0.0/0 ::/0"}, {}),
        ({"networks": "10.0.0.0/9 10.128.0.0/9"}, {"networks": "10.0.0.0/8"}),
        ({"hosts": "*"}, {}),
        ({"hosts": "*.a b"}, {"hosts": "x.a b"}),
        ({"uris": "/"}, {}),
        ({"uris": "~.*"}, {}),
        ({"uris": "~/.*"}, {"uris": "/x"}),
        ({"uris": "/A"}, {"uris": "/a/b =/a"}),
        ({"uris": "/a/"}, {"uris": "/a"}),
        ({"uris": "=/a"}, {"uris": "=/A"}),
        ({"uris": "~/a+"}, {"uris": "=/aaa"}),
        ({"uris": "~/a+"}, {"uris": "~/a+"}),
        ({"methods": "GET POST"}, {"methods": "GET"}),
    ],
)
def test_a_rule_covers_another(one, other):
    assert reach(**one).covers(reach(**other))
    earlier = Earlier()
    earlier.add(reach(networks="192.0.2.1", uris="/never ~/never/.*"))
    earlier.add(reach(**one))
    earlier.add(reach())
    assert earlier.covering(reach(**other)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"networks": "internal"}, {}),
        ({"networks": "internal"}, {"networks": "external"}),
        ({"networks": "internal"}, {"networks": "10.0.0.0/7"}),
        ({"networks": "0.0.0.0/0"}, {}),
        ({"hosts": "*.a"}, {"hosts": "a"}),
        ({"hosts": "*.a"}, {"hosts": "*"}),
        ({"hosts": "*.a"}, {"hosts": "x.y.a"}),
        ({"hosts": "a"}, {}),
        ({"hosts": "a"}, {"hosts": "a b"}),
        ({"uris": "/a"}, {}),
        ({"uris": "/a"}, {"uris": "/ab"}),
        ({"uris": "/a/b"}, {"uris": "/a"}),
        ({"uris": "=/a"}, {"uris": "/a"}),
        ({"uris": "~/a+"}, {"uris": "/a"}),
        ({"uris": "~/a+"}, {"uris": "~/a"}),
        ({"uris": "/a"}, {"uris": "~/a"}),
        ({"methods": "GET"}, {}),
        ({"methods": "GET"}, {"methods": "GET POST"}),
    ],
)
def test_a_rule_does_not_cover_another(one, other):
    assert not reach(**one).covers(reach(**other))
    earlier = Earlier()
    earlier.add(reach(**one))
    assert earlier.covering(reach(**other)) is None


def test_the_index_finds_what_a_plain_loop_finds():
    choices = {
        "networks": (None, "internal", "external", "10.0.0.1"),
        "hosts": (None, "*", "*.a", "x.a", "b x.a"),
        "uris": (None, "/", "/a", "/a/b", "=/a", "~/a.*", "/c /a"),
        "methods": (None, "GET"),
    }
    reaches = [reach(*values) for values in product(*choices.values())]
    random.Random(1).shuffle(reaches)
    for start in range(0, len(reaches), 40):
        earlier, filed = Earlier(), reaches[start : start + 40]
        for index, item in enumerate(filed):
            looped = next((other for other in range(index) if filed[other].covers(item)), None)
            assert earlier.covering(item) == looped
            earlier.add(item)


def test_the_part_of_a_rule_that_is_on_a_site():
    site = tuple(map(parse_host_pattern, ("x.a", "*.b")))
    assert reach().on_site(site).hosts == site
    assert reach(hosts="*.a c.b").on_site(site).hosts == tuple(map(parse_host_pattern, ("x.a", "c.b")))
    assert reach(hosts="z").on_site(site) is None


def test_a_host_is_on_the_site_with_the_most_specific_pattern():
    every = (parse_host_pattern("*"),)
    others = tuple(map(parse_host_pattern, ("x.a", "*.b")))
    for hosts in ("x.a", "*.b", "c.b", "x.a c.b"):
        assert reach(hosts=hosts).on_site(every, others) is None
    assert reach(hosts="x.a y.a *.a").on_site(every, others).hosts == tuple(map(parse_host_pattern, ("y.a", "*.a")))
    assert reach().on_site(every, others).hosts == every
    assert reach(hosts="c.b").on_site((parse_host_pattern("*.b"),), (parse_host_pattern("c.b"), *every)) is None


def test_the_narrower_of_two_patterns():
    wide, narrow = parse_host_pattern("*.a"), parse_host_pattern("x.a")
    assert narrower(wide, narrow) == narrower(narrow, wide) == narrow
