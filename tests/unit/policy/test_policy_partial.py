"""Which decisions are possible on a request of which not everything is known, and what is missing to tell."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from support.rules import rule_of

from gateway.facts import NO_CONNECTION_LOGIN, NO_LOGIN, Action, ConnectionLogin, Login, Reason, parse_address
from gateway.policy.partial import PartialRules
from gateway.policy.partial_facts import ANY_JUDGEMENT, KnownCertificate, Missing, PartialRequest, Shown
from gateway.policy.rules import CertificateConditions

NETWORKS = {"internal": (ip_network("10.0.0.0/8"),)}
ALICE = KnownCertificate("01" * 32, (("O", "Example"), ("CN", "alice")), ("alice@example.com",))
TRUSTED = Shown(frozenset({None}), ALICE)
AS_ALICE = Login(("alice",), None, None, "basic")
AS_BOB = Login(("bob",), None, None, "basic")
REQUEST = PartialRequest(
    parse_address("198.51.100.7"), "mail.example.com", "GET", ("/webmail",), TRUSTED, ((NO_LOGIN, NO_CONNECTION_LOGIN),)
)


def told(request, *rules):
    """What is told, or else what is missing."""
    outcomes = PartialRules(rules, NETWORKS, 0.0).outcomes(request)
    found = outcomes.told
    return outcomes.missing if found is None else found[:2]


def rule(action=Action.REQUIRE_CERTIFICATE, **values):
    return rule_of(name=str(values), action=action, line=1, **values)


def asking(**conditions):
    return rule(certificate=CertificateConditions(**conditions))


def session(login, carried=NO_CONNECTION_LOGIN):
    return replace(REQUEST, sessions=((login, carried),))


ALLOW, DENY = rule(Action.ALLOW), rule(Action.DENY)
IN, NOT_ALLOWED, MISMATCH = (None, None), (Reason.CERTIFICATE_NOT_ALLOWED, None), (Reason.USER_MISMATCH, None)


def test_what_is_known_is_told():
    assert told(REQUEST) == (Reason.NO_RULE, None)
    assert told(REQUEST, rule()) == IN
    assert told(REQUEST, DENY, ALLOW) == (Reason.DENIED_BY_RULE, None)
    assert told(REQUEST, rule(Action.ALLOW, methods=frozenset({"POST"}))) == (Reason.NO_RULE, None)
    missing = replace(REQUEST, shown=Shown(frozenset({Reason.CERTIFICATE_MISSING})))
    assert told(missing, rule()) == (Reason.CERTIFICATE_MISSING, None)
    assert told(missing, rule(enforce=False)) == (None, Reason.CERTIFICATE_MISSING)


@pytest.mark.parametrize(
    ("known", "conditions", "missing"),
    [
        ({"address": None}, {"networks": ("internal",)}, Missing.CLIENT),
        ({"host": None}, {"hosts": ("mail.example.com",)}, Missing.HOST),
        ({"paths": (), "sessions": ()}, {"uris": ("/owa", "=/", "~/.*")}, Missing.PATH),
    ],
)
def test_what_a_rule_would_have_to_know(known, conditions, missing):
    request = replace(REQUEST, **known)
    assert told(request, rule(Action.DENY, **conditions), ALLOW)[0] is missing
    assert told(request, rule(Action.DENY, **conditions), DENY) == (Reason.DENIED_BY_RULE, None)
    assert told(request, DENY) == (Reason.DENIED_BY_RULE, None)


def test_a_client_that_a_proxy_does_not_name_matches_no_rule_that_lets_in():
    request = replace(REQUEST, address=None)
    assert told(request, ALLOW) == (Missing.CLIENT,)
    assert told(replace(request, shown=Shown(frozenset({Reason.CERTIFICATE_MISSING}))), rule(enforce=False)) == (
        Missing.CLIENT,
    )


def test_a_prefix_for_every_path_needs_no_path():
    assert told(replace(REQUEST, paths=(), sessions=()), rule(Action.ALLOW, uris=("/",))) == IN


@pytest.mark.parametrize(
    ("shown", "conditions", "expected"),
    [
        (Shown(ANY_JUDGEMENT, ALICE), {}, (Missing.TRUST,)),
        (TRUSTED, {"ca_fingerprints": frozenset({"aa" * 32})}, (Missing.AUTHORITY,)),
        (TRUSTED, {"subject": (("O", "Exam*"),)}, IN),
        (TRUSTED, {"subject": (("O", "Other"),), "ca_fingerprints": frozenset({"aa" * 32})}, NOT_ALLOWED),
        (Shown(frozenset({None}), replace(ALICE, rdns=None)), {"subject": (("O", "Other"),)}, (Missing.SUBJECT,)),
        (TRUSTED, {"fingerprints_sha256": frozenset({"02" * 32})}, NOT_ALLOWED),
        (TRUSTED, {"emails": ("*@example.com",)}, IN),
        (TRUSTED, {"emails": ("*@other.example",)}, (Missing.EMAIL,)),
        (
            Shown(frozenset({None}), replace(ALICE, has_more_emails=False)),
            {"emails": ("*@other.example",)},
            NOT_ALLOWED,
        ),
        (Shown(frozenset({None})), {"subject": (("O", "x"),)}, (Missing.SUBJECT,)),
        (Shown(frozenset({None})), {"fingerprints_sha256": frozenset({"02" * 32})}, (Missing.CERTIFICATE,)),
        (Shown(frozenset({None})), {"emails": ("*@example.com",)}, (Missing.EMAIL,)),
    ],
)
def test_conditions_of_certificates(shown, conditions, expected):
    assert told(replace(REQUEST, shown=shown), asking(**conditions)) == expected


@pytest.mark.parametrize(
    ("bind", "user", "certificate", "expected"),
    [
        ("email", "alice", ALICE, IN),
        ("email", "bob", ALICE, (Missing.EMAIL,)),
        ("email", "bob", replace(ALICE, has_more_emails=False), MISMATCH),
        ("upn", "alice", ALICE, (Missing.PRINCIPAL,)),
        ("cn", "bob", ALICE, MISMATCH),
        ("cn", "alice", ALICE, (Missing.NAMES,)),  # a name constraint may rule it out
        ("cn", "alice", replace(ALICE, rdns=(("CN", "alice@example.com"),)), IN),
        ("cn", "alice", replace(ALICE, rdns=()), MISMATCH),
        ("cn", "alice", replace(ALICE, rdns=None), (Missing.SUBJECT,)),
        ("san", "alice", ALICE, IN),
        ("san", "bob", ALICE, (Missing.NAMES,)),
        ("san", "alice", None, (Missing.NAMES,)),
    ],
)
def test_the_login_belongs_to_the_certificate_or_not_or_it_cannot_be_told(bind, user, certificate, expected):
    request = replace(session(Login((user,), None, None, "basic")), shown=Shown(frozenset({None}), certificate))
    assert told(request, asking(bind_user=bind)) == expected


def test_logins_that_hide_their_name_and_earlier_ones_of_the_connection():
    bound = asking(bind_user="email")
    hidden = Login((), None, "it hides its name", "bearer", is_hidden=True)
    assert told(session(hidden), bound) == MISMATCH
    assert told(session(hidden), asking(device_ids=frozenset({"D1"}))) == NOT_ALLOWED
    assert told(session(AS_ALICE, ConnectionLogin(is_hidden=True)), bound) == MISMATCH
    assert told(session(AS_ALICE, ConnectionLogin(("alice",))), bound) == IN
    assert told(session(AS_ALICE, None), bound) == (Missing.EARLIER_LOGINS,)
    assert told(session(AS_ALICE, None), rule()) == IN
    two = replace(REQUEST, sessions=((hidden, NO_CONNECTION_LOGIN), (AS_ALICE, NO_CONNECTION_LOGIN)))
    assert told(two, bound) == (Missing.LOGIN,)
    assert told(replace(two, sessions=two.sessions[:1] * 2), bound) == MISMATCH
    assert told(replace(REQUEST, sessions=()), bound) == (Missing.LOGIN,)


def test_devices():
    listed = asking(device_ids=frozenset({"D1"}))
    assert told(session(Login((), "d1", None)), listed) == IN
    assert told(session(Login((), "d2", None)), listed) == NOT_ALLOWED
    sync = replace(session(NO_LOGIN), paths=("/microsoft-server-activesync",))
    assert told(sync, listed) == NOT_ALLOWED
    assert told(replace(sync, method="OPTIONS"), listed) == IN


def test_every_reading_of_the_path_must_be_let_in():
    secret = rule(Action.DENY, uris=("/secret",))
    observing = rule(uris=("/seen",), enforce=False)
    unknown = rule(Action.DENY, uris=("/host",), hosts=("mail.example.com",))
    without = replace(REQUEST, shown=Shown(frozenset({Reason.CERTIFICATE_MISSING})))
    rules = secret, observing, unknown, ALLOW
    assert told(replace(without, paths=("/a", "/b")), *rules) == IN
    assert told(replace(without, paths=("/a", "/seen", "/b")), *rules) == (None, Reason.CERTIFICATE_MISSING)
    assert told(replace(without, paths=("/seen", "/secret")), *rules) == (Reason.DENIED_BY_RULE, None)
    assert told(replace(without, paths=("/secret", "/seen")), *rules) == (Reason.DENIED_BY_RULE, None)
    assert told(replace(without, paths=("/a", "/host"), host=None), *rules) == (Missing.HOST,)


def test_a_second_path_counts_only_if_the_first_is_let_in():
    request = replace(REQUEST, has_destination=True, method="COPY")
    assert told(request, DENY) == (Reason.DENIED_BY_RULE, None)
    assert told(request, ALLOW) == IN
    assert Missing.DESTINATION in told(request, rule(Action.DENY, uris=("/secret",)), ALLOW)


def test_the_rule_is_told_where_one_decides():
    outcomes = PartialRules([rule(Action.DENY, uris=("/a",)), DENY], NETWORKS, 0.0)
    found = outcomes.outcomes(replace(REQUEST, paths=(), sessions=())).told
    assert found is not None
    assert (found.reason, found.rule) == (Reason.DENIED_BY_RULE, None)
    found = outcomes.outcomes(REQUEST).told
    assert found is not None
    assert found.rule is DENY
