"""The first rule that matches decides; where none does, nobody comes in."""

from ipaddress import ip_network

import pytest

from gateway.errors import PatternError
from gateway.facts import Action, Judgement, Login, Origin, Reason, parse_address
from gateway.policy.engine import NO_RULE, Engine
from gateway.policy.rules import CertificateConditions
from gateway.policy.uri import normalise

NETWORKS = {"internal": (ip_network("10.0.0.0/8"),), "office": (ip_network("203.0.113.0/28"),)}
INSIDE, OUTSIDE = "10.1.2.3", "198.51.100.7"


@pytest.fixture
def decide(request_of):
    """A decision of both ways, which have to agree."""

    def decide(rules, path="/", **facts):
        engine, request = Engine(rules, NETWORKS), request_of(path, **facts)
        decision = engine.decide(request)
        assert decision == engine.decide_plain(request)
        steps = engine.trace(request)
        assert (steps[-1].rule if steps and steps[-1].is_match else None) == decision.rule
        return decision

    return decide


@pytest.fixture
def main_rules(rule):
    """The rules of the example configuration."""
    return [
        rule(name="inside", line=3, networks=("internal",)),
        rule(
            "require_certificate",
            name="outside",
            line=6,
            hosts=("mail.example.com",),
            networks=("external",),
            uris=("/webmail", "/Microsoft-Server-ActiveSync"),
            methods=frozenset({"GET", "POST", "OPTIONS"}),
        ),
        rule("deny", name="rest", line=12),
    ]


def test_no_rule_is_a_denial(decide):
    assert decide([]) == NO_RULE
    assert (NO_RULE.action, NO_RULE.reason, NO_RULE.rule) == (Action.DENY, Reason.NO_RULE, None)


def test_no_matching_rule_is_a_denial(decide, rule):
    assert decide([rule(networks=("internal",))], address=OUTSIDE) == NO_RULE
    assert decide([rule(hosts=("other.example.com",))]) == NO_RULE
    assert decide([rule(uris=("/webmail",))], "/x") == NO_RULE
    assert decide([rule(methods=frozenset({"GET"}))], method="PUT") == NO_RULE


@pytest.mark.parametrize(
    ("target", "address", "host", "method", "expected"),
    [
        ("/webmail", INSIDE, "mail.example.com", "GET", ("inside", None)),
        ("/anything", INSIDE, "other.example.com", "PUT", ("inside", None)),
        ("/webmail", OUTSIDE, "mail.example.com", "GET", ("outside", Reason.CERTIFICATE_MISSING)),
        ("/WebMail/x", OUTSIDE, "mail.example.com", "POST", ("outside", Reason.CERTIFICATE_MISSING)),
        (
            "/microsoft-server-activesync",
            OUTSIDE,
            "mail.example.com",
            "OPTIONS",
            ("outside", Reason.CERTIFICATE_MISSING),
        ),
        ("/webmail", OUTSIDE, "mail.example.com", "get", ("outside", Reason.CERTIFICATE_MISSING)),
        ("/webmail", OUTSIDE, "mail.example.com", "PUT", ("rest", Reason.DENIED_BY_RULE)),
        ("/webmail", OUTSIDE, "other.example.com", "GET", ("rest", Reason.DENIED_BY_RULE)),
        ("/webmailx", OUTSIDE, "mail.example.com", "GET", ("rest", Reason.DENIED_BY_RULE)),
        ("/webmail", "::ffff:10.1.2.3", "mail.example.com", "GET", ("inside", None)),
        ("/webmail", "2001:db8::1", "mail.example.com", "GET", ("outside", Reason.CERTIFICATE_MISSING)),
    ],
)
def test_the_example_rules(decide, main_rules, *, target, address, host, method, expected):
    path = normalise(target.encode()).match
    decision = decide(main_rules, path, address=address, host=host, method=method)
    assert (decision.rule, decision.reason) == expected
    assert decision.line == {"inside": 3, "outside": 6, "rest": 12}[decision.rule]


def test_a_trusted_certificate_opens_the_door(decide, main_rules, trusted):
    decision = decide(main_rules, "/webmail", address=OUTSIDE, judgement=trusted())
    assert (decision.action, decision.reason, decision.rule) == (Action.REQUIRE_CERTIFICATE, None, "outside")


@pytest.mark.parametrize("reason", [Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_REVOKED, Reason.REVOCATION_UNKNOWN])
def test_a_bad_certificate_keeps_its_own_reason(decide, main_rules, identity, reason):
    judgement = Judgement(identity(), reason, "because")
    decision = decide(main_rules, "/webmail", address=OUTSIDE, judgement=judgement)
    assert (decision.reason, decision.detail) == (reason, "because")


def test_no_certificate_and_no_reason_is_still_no_certificate(decide, main_rules):
    decision = decide(main_rules, "/webmail", address=OUTSIDE, judgement=Judgement(None, None, ""))
    assert decision.reason is Reason.CERTIFICATE_MISSING


def test_a_rule_above_beats_one_below(decide, rule):
    rules = [
        rule("deny", name="first", uris=("/a/b",)),
        rule(name="second", uris=("/a",)),
        rule("deny", name="third", uris=("~/a.*", "=/a/x")),
    ]
    assert decide(rules, "/a/b/c").rule == "first"
    assert decide(rules, "/a/c").rule == "second"
    assert decide(rules, "/ax").rule == "third"


def test_regular_expressions_are_asked_in_their_turn(decide, rule):
    rules = [
        rule(name="regex 1", uris=("~/a[0-9]+",)),
        rule(name="regex 2", uris=("~/a.*",), methods=frozenset({"GET"})),
        rule(name="prefix", uris=("/a5", "~/none")),
        rule(name="regex 3", uris=("~/.*",)),
    ]
    assert decide(rules, "/a5").rule == "regex 1"
    assert decide(rules, "/a5/x").rule == "regex 2"
    assert decide(rules, "/a5/x", method="PUT").rule == "prefix"
    assert decide(rules, "/none").rule == "prefix"
    assert decide(rules, "/b").rule == "regex 3"
    assert decide(rules, "").rule is None


def test_hosts_of_every_kind(decide, rule):
    rules = [
        rule(name="exact", hosts=("Mail.example.com", "other.example.com")),
        rule(name="wildcard", hosts=("*.example.com",)),
        rule(name="any", hosts=("*",), uris=("/any",)),
    ]
    assert decide(rules, host="mail.example.com").rule == "exact"
    assert decide(rules, host="www.example.com").rule == "wildcard"
    assert decide(rules, "/any", host="a.b.example.com").rule == "any"
    assert decide(rules, "/", host="a.b.example.com").rule is None


def test_prefixes_share_segments_and_not_letters(decide, rule):
    rules = [
        rule(name="deep", uris=("/a/b/c/d",)),
        rule(name="middle", uris=("/a/b",)),
        rule(name="root", uris=("/",), methods=frozenset({"GET"})),
    ]
    assert decide(rules, "/a/b/c/d/e").rule == "deep"
    assert decide(rules, "/a/b/c/de").rule == "middle"
    assert decide(rules, "/a/bc").rule == "root"
    assert decide(rules, "/a/bc", method="PUT").rule is None
    assert decide(rules, "a/b").rule is None
    assert decide(rules, "").rule == "root"


def test_an_empty_list_means_nobody_and_never_everybody(decide, rule):
    for empty in ({"networks": ()}, {"hosts": ()}, {"uris": ()}, {"methods": frozenset()}):
        assert decide([rule(**empty)]) == NO_RULE


@pytest.mark.parametrize(
    "broken",
    [{"networks": ("nowhere",)}, {"hosts": ("a b",)}, {"uris": ("webmail",)}, {"uris": ("~(",)}],
)
def test_a_rule_that_cannot_work_is_never_skipped_in_silence(rule, broken):
    with pytest.raises(PatternError):
        Engine([rule("deny", **broken)], NETWORKS)


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_certificate_conditions_under_another_action_are_refused(rule, action):
    """An admin who wrote them believes that they protect something."""
    with pytest.raises(PatternError, match="certificate conditions"):
        Engine([rule(action, certificate=CertificateConditions(emails=("*@example.com",)))], NETWORKS)


def test_whether_any_rule_looks_at_the_login(rule, requiring):
    assert not Engine([rule(), requiring(emails=("*@example.com",))], NETWORKS).needs_login
    assert Engine([rule(), requiring(bind_user="email")], NETWORKS).needs_login
    assert Engine([requiring(device_ids=frozenset({"A1"}))], NETWORKS).needs_login


def test_conditions_decide_after_trust(decide, requiring, trusted):
    rules = [requiring(bind_user="email")]
    alice = trusted(emails=("alice@example.com",))
    assert decide(rules, judgement=alice, login=Login(("alice",), None, None)).reason is None
    assert decide(rules, judgement=alice, login=Login(("bob",), None, None)).reason is Reason.USER_MISMATCH
    assert decide(rules, login=Login(("bob",), None, None)).reason is Reason.CERTIFICATE_MISSING


def _asks(rules, address=OUTSIDE, host="mail.example.com", site=("mail.example.com",)):
    return Engine(rules, NETWORKS).asks_for_certificate(parse_address(address), host, site)


def test_inside_nobody_sees_a_prompt(main_rules):
    assert not _asks(main_rules, INSIDE)
    assert not _asks(main_rules, INSIDE, host=None)
    assert _asks(main_rules, OUTSIDE)
    assert _asks(main_rules, OUTSIDE, host=None)


def test_a_host_that_no_rule_protects_is_not_asked(main_rules):
    assert not _asks(main_rules, host="other.example.com")
    assert not _asks(main_rules, host=None, site=("other.example.com",))
    assert _asks(main_rules, host=None, site=("other.example.com", "*.example.com"))
    assert _asks(main_rules, host=None, site=("*",))


@pytest.mark.parametrize(
    ("above", "asks"),
    [
        ({}, False),
        ({"uris": ("/",)}, False),
        ({"uris": ("/x", "/")}, False),
        ({"uris": ("/x",)}, True),
        ({"uris": ("~.*",)}, True),
        ({"methods": frozenset({"GET"})}, True),
        ({"uris": ("/",), "methods": frozenset({"GET"})}, True),
        ({"hosts": ("mail.example.com",)}, False),
        ({"hosts": ("*.example.com",)}, False),
        ({"hosts": ("www.example.com",)}, True),
        ({"networks": ("external",)}, False),
        ({"networks": ("internal",)}, True),
    ],
)
@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("host", ["mail.example.com", None])
def test_only_what_covers_everything_ends_the_search(rule, above, asks, action, host):
    rules = [rule(action, **above), rule("require_certificate")]
    assert _asks(rules, host=host) is asks


def test_a_requiring_rule_that_covers_everything_asks(rule):
    assert _asks([rule("require_certificate")])
    assert not _asks([rule("deny"), rule("require_certificate")])
    assert not _asks([rule()])
    assert not _asks([])


def test_without_a_server_name_all_hosts_of_the_site_must_be_covered(rule):
    rules = [rule(hosts=("a.example.com",)), rule("require_certificate")]
    assert not _asks(rules, host=None, site=("a.example.com",))
    assert _asks(rules, host=None, site=("a.example.com", "b.example.com"))
    assert _asks(rules, host=None, site=("*.example.com",))
    rules = [rule(hosts=("*.example.com",)), rule("require_certificate")]
    assert not _asks(rules, host=None, site=("a.example.com", "*.example.com"))
    assert _asks(rules, host=None, site=("*",))
    assert not _asks([rule(hosts=("*",)), rule("require_certificate")], host=None, site=("*",))


def test_the_answer_for_a_site_is_the_same_the_second_time(main_rules):
    engine = Engine(main_rules, NETWORKS)
    outside, inside = parse_address(OUTSIDE), parse_address(INSIDE)
    for _ in range(2):
        assert engine.asks_for_certificate(outside, None, ("mail.example.com",))
        assert not engine.asks_for_certificate(inside, None, ("mail.example.com",))
        assert not engine.asks_for_certificate(outside, None, ("other.example.com",))


PROXY = "10.0.0.9"


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([{"networks": ("internal",)}], Reason.NO_RULE),
        ([{"networks": ("external",)}], Reason.NO_RULE),
        ([{}], Reason.NO_RULE),
        ([{"networks": ("10.0.0.0/24",)}], Reason.NO_RULE),
        ([{"networks": ("balancers",)}], Reason.NO_RULE),
        ([{"networks": ("10.0.0.10",)}], Reason.NO_RULE),
        ([{"networks": (PROXY,)}], None),
        ([{"networks": ("10.0.0.8", "10.0.0.9/32")}], None),
        ([{"networks": (PROXY,), "uris": ("/x",)}], Reason.NO_RULE),
        ([{"networks": ("internal",)}, {"networks": (PROXY,)}], None),
        ([{"action": "deny", "networks": ("internal",)}, {"networks": (PROXY,)}], Reason.DENIED_BY_RULE),
        ([{"action": "deny", "networks": ("external",)}, {"networks": (PROXY,)}], None),
        ([{"action": "deny"}, {"networks": (PROXY,)}], Reason.DENIED_BY_RULE),
        ([{"action": "require_certificate"}], Reason.NO_RULE),
        ([{"action": "require_certificate", "networks": (PROXY,)}], Reason.CERTIFICATE_MISSING),
    ],
)
def test_a_client_that_nobody_named_is_let_in_only_by_a_rule_for_its_proxy(rule, request_of, rules, reason):
    networks = NETWORKS | {"balancers": (ip_network("10.0.0.9/32"),)}
    engine = Engine([rule(**conditions) for conditions in rules], networks)
    request = request_of(address=PROXY, origin=Origin.UNNAMED)
    decision = engine.decide(request)
    assert decision.reason == reason
    assert decision == engine.decide_plain(request)
    assert (reason is None) == ("the trusted proxy 10.0.0.9 named no client" not in decision.detail)
    steps = engine.trace(request)
    assert steps[-1].is_match == (decision.rule is not None)
    if rules[0] == {"networks": ("internal",)}:
        assert steps[0].why == "10.0.0.9 is a trusted proxy, not a client, so from must list this address"


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"networks": ("internal",)}, Reason.NO_RULE),
        ({}, Reason.NO_RULE),
        ({"networks": (PROXY,)}, None),
        ({"action": "deny", "networks": ("internal",)}, Reason.DENIED_BY_RULE),
        ({"action": "require_certificate", "networks": ("internal",)}, Reason.CERTIFICATE_MISSING),
    ],
)
def test_a_proxy_that_is_named_as_the_client_is_not_let_in_as_one(rule, request_of, trusted, conditions, reason):
    engine = Engine([rule(**conditions)], NETWORKS)
    decision = engine.decide(request_of(address=PROXY, origin=Origin.PROXY))
    assert decision.reason == reason
    assert (reason is None) == ("10.0.0.9 is a trusted proxy" not in decision.detail)
    if reason is Reason.CERTIFICATE_MISSING:
        request = request_of(address=PROXY, origin=Origin.PROXY, judgement=trusted())
        assert engine.decide(request).reason is None


def test_an_ipv6_proxy_is_named_in_any_spelling(rule, request_of):
    for text in ("fd00::9", "FD00:0::9/128"):
        engine = Engine([rule(networks=(text,))], NETWORKS)
        assert engine.decide(request_of(address="fd00::9", origin=Origin.UNNAMED)).reason is None


def test_a_trusted_proxy_is_asked_where_anybody_could_be(main_rules, rule):
    """It may name any client."""

    def asks(rules, host="mail.example.com"):
        return Engine(rules, NETWORKS).asks_for_certificate(None, host, ("mail.example.com",))

    assert asks(main_rules)
    assert asks(main_rules, host=None)
    assert not asks(main_rules, host="other.example.com")
    assert asks([rule(networks=("internal",)), rule("require_certificate", networks=("external",))])
    assert not asks([rule(), rule("require_certificate")])
    assert not asks([rule(networks=("internal",))])


def test_a_trace_says_why(main_rules, request_of, trusted, rule):
    engine = Engine([*main_rules[:2], rule("deny", name="nothing", uris=()), rule("deny")], NETWORKS)
    first, second = engine.trace(request_of("/webmail", address=OUTSIDE))
    assert (first.rule, first.is_match, first.why) == ("inside", False, f"{OUTSIDE} is not in from [internal]")
    assert (second.line, second.is_match, second.why) == (6, True, "all conditions hold")
    assert [(check.condition, check.is_met) for check in second.checks] == [
        ("from", True),
        ("hosts", True),
        ("uri", True),
        ("methods", True),
        ("certificate", False),
    ]
    assert second.checks[-1].why == "the client sent no certificate"
    *_, third, last = engine.trace(request_of("/x", address=OUTSIDE, judgement=trusted()))
    assert third.why == "/x is not in uri [nothing]"
    assert (last.is_match, last.checks, last.why) == (True, (), "the rule has no conditions")
    assert last.action is Action.DENY
    assert Engine([], NETWORKS).trace(request_of("/")) == ()
