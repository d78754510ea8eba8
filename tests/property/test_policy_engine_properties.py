"""However many rules: the index decides as the plain loop does, and whoever could need a certificate is asked."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from support.rules import rule_of

from gateway.facts import NO_CERTIFICATE, Action, Identity, Judgement, Login, Origin, Request, parse_address
from gateway.policy.engine import Engine
from gateway.policy.rules import CertificateConditions

NETWORKS = {
    "internal": tuple(map(ip_network, ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"])),
    "office": (ip_network("203.0.113.0/28"), ip_network("10.1.0.0/16")),
}
HOSTS = ["a.example", "b.example", "mail.example.com", "a.b.example", "x.b.example", "b", "[::1]", "192.0.2.1"]
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/a b", "/é", "/x/y/z", "", "/a1", "/a1/b"]
ADDRESSES = [
    "10.0.0.0",
    "10.1.2.3",
    "9.255.255.255",
    "11.0.0.0",
    "203.0.113.15",
    "203.0.113.16",
    "fd00::1",
    "::",
    "fe00::",
]
METHODS = ["GET", "POST", "OPTIONS", "get", "PROPFIND"]

_THEN = datetime(2026, 1, 1, tzinfo=UTC)
_NAMES = ("ab" * 32, "01", "CN=alice", "CN=ca", (), None, (), (), (), ())
TRUSTED = Judgement(Identity(*_NAMES, _THEN, _THEN, b"", (), frozenset()), None, "issued by CN=ca")


def _some(strategy):
    return st.none() | st.lists(strategy, max_size=3).map(tuple)


REGEXES = [
    "~/(a|b)/[a1].*",
    "~/(?:a|ab)?/b",
    "~/a|/b/.*",
    "~^/(b)+",
    "~/[a]b?/.*",
    "~/[.]a|/1",
    "~/(a/(b|1))*.*",
    "~/a(|b)/.*",
]
rule_conditions = st.fixed_dictionaries(
    {
        "networks": _some(st.sampled_from(["internal", "external", "office", "10.1.2.0/24", "203.0.113.15", "::/0"])),
        "hosts": _some(
            st.sampled_from(["a.example", "*.example", "*.b.example", "*", "mail.example.com", "192.0.2.1"])
        ),
        "uris": _some(
            st.sampled_from(
                ["/", "/a", "/A/b", "/a/b/c", "=/a", "=/A/b", "~/a.*", "~/[^/]*", "/%C3%A9", "/b", *REGEXES]
            )
        ),
        "methods": st.none() | st.frozensets(st.sampled_from(["GET", "POST", "OPTIONS"]), max_size=2),
        "action": st.sampled_from(Action),
    }
)
requests = st.builds(
    Request,
    st.sampled_from(ADDRESSES).map(parse_address) | st.ip_addresses(),
    st.sampled_from(HOSTS),
    st.sampled_from(METHODS),
    st.sampled_from(PATHS) | st.text("/ab1", max_size=8).map(lambda tail: "/" + tail),
    st.just(NO_CERTIFICATE),
    st.just(Login((), None, None)),
)


def _rules(conditions):
    return [
        rule_of(
            name=f"rule {number}",
            line=number,
            certificate=CertificateConditions() if some["action"] is Action.REQUIRE_CERTIFICATE else None,
            **some,
        )
        for number, some in enumerate(conditions)
    ]


@given(st.lists(rule_conditions, max_size=12).map(_rules), st.lists(requests, min_size=1, max_size=10))
@settings(max_examples=100, deadline=None)
def test_the_index_decides_as_the_plain_loop(rules, some):
    engine = Engine(rules, NETWORKS)
    for request in some:
        assert engine.decide(request) == engine.decide_plain(request)


@given(st.lists(rule_conditions, max_size=12).map(_rules), requests)
@settings(max_examples=100, deadline=None)
def test_whoever_is_refused_for_want_of_a_certificate_was_asked_for_one(rules, request):
    engine = Engine(rules, NETWORKS)
    if engine.decide(request).action is Action.REQUIRE_CERTIFICATE:
        site = (request.host,)
        assert engine.asks_for_certificate(request.address, request.host, site)
        assert engine.asks_for_certificate(request.address, None, site)
        assert engine.asks_for_certificate(request.address, None, ("other.example", "*"))


@given(st.lists(rule_conditions, max_size=12).map(_rules), requests, st.sampled_from(Origin), st.booleans())
@settings(max_examples=100, deadline=None)
def test_observation_opens_no_more_than_allow_and_observes_what_would_be_refused(rules, request, origin, is_trusted):
    request = replace(request, origin=origin, judgement=TRUSTED if is_trusted else NO_CERTIFICATE)
    observing = [replace(rule, enforce=False) for rule in rules]
    strict, observed = Engine(rules, NETWORKS).decide(request), Engine(observing, NETWORKS).decide(request)
    if observed.observed is None:
        assert observed == strict
        return
    assert observed == replace(strict, reason=None, observed=strict.reason)
    number = strict.line or 0
    opened = [replace(rule, action=Action.ALLOW, certificate=None) if rule.line == number else rule for rule in rules]
    assert Engine(opened, NETWORKS).decide(request).reason is None


@given(st.integers(0, 10**9))
@settings(max_examples=4, deadline=None)
def test_beyond_a_hundred_hosts_and_a_thousand_rules(seed):
    """CVE-2026-27588: a matcher that turned case-sensitive above 100 hosts."""
    random = Random(seed)
    hosts = [f"h{number}.example" for number in range(150)]
    rules = [
        rule_of(
            name=str(number),
            action=random.choice([Action.ALLOW, Action.DENY]),
            line=number,
            networks=random.choice([None, ("internal",), ("external",), (f"10.{number % 256}.0.0/16",)]),
            hosts=(random.choice(hosts).upper(), random.choice(hosts), f"*.h{number % 50}.example"),
            uris=random.choice(
                [None, (f"/App{number % 40}/p",), (f"=/app{number % 40}",), (f"~/app{number % 40}/.*",)]
            ),
            methods=random.choice([None, frozenset({"GET"})]),
        )
        for number in range(1001)
    ]
    engine = Engine(rules, NETWORKS)
    for _ in range(40):
        request = Request(
            parse_address(f"{random.choice([10, 11])}.{random.randrange(256)}.3.4"),
            random.choice([*hosts, "x.h7.example", "unknown.example"]),
            random.choice(["GET", "PUT"]),
            f"/app{random.randrange(42)}{random.choice(['', '/p', '/p/x', '/q'])}",
        )
        assert engine.decide(request) == engine.decide_plain(request)
