"""A rule in observation lets in what it would refuse, says why it would, and refuses from its day on."""

from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from math import inf

import pytest

from gateway.facts import Action, ConnectionLogin, Judgement, Login, Origin, Reason
from gateway.policy.engine import Engine
from gateway.policy.rules import CertificateConditions

DAY = date(2028, 2, 29)
MIDNIGHT = datetime(2028, 2, 29, tzinfo=UTC).timestamp()
BEFORE = MIDNIGHT - 1
PROXY = "10.0.0.9"


@pytest.fixture
def observing(rule):
    """A rule in observation, with conditions on the certificate."""

    def observing(enforce=False, *, networks=None, **conditions):
        certificate = CertificateConditions(**conditions)
        return rule(
            "require_certificate", name="new", line=7, certificate=certificate, enforce=enforce, networks=networks
        )

    return observing


def outcome(engine, request):
    decision = engine.decide(request)
    assert decision == engine.decide_plain(request)
    return decision.reason, decision.observed


def test_a_request_without_a_certificate_is_let_in_with_the_reason(observing, request_of):
    decision = Engine([observing()], {}).decide(request_of())
    assert (decision.reason, decision.observed) == (None, Reason.CERTIFICATE_MISSING)
    assert (decision.action, decision.rule, decision.line) == (Action.REQUIRE_CERTIFICATE, "new", 7)
    assert decision.detail == "the client sent no certificate"


@pytest.mark.parametrize(
    "reason",
    [
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_REVOKED,
        Reason.CERTIFICATE_UNTRUSTED,
        Reason.REVOCATION_UNKNOWN,
    ],
)
def test_a_certificate_that_does_not_count_is_observed_by_its_own_reason(observing, request_of, identity, reason):
    request = request_of(judgement=Judgement(identity(), reason, "why"))
    assert outcome(Engine([observing()], {}), request) == (None, reason)


def test_a_certificate_that_satisfies_the_rule_is_nothing_to_observe(observing, request_of, trusted):
    assert outcome(Engine([observing()], {}), request_of(judgement=trusted())) == (None, None)


def test_conditions_and_logins_are_observed_and_not_applied(observing, request_of, trusted):
    alice = trusted(emails=("alice@example.com",))
    foreign = Engine([observing(emails=("*@other.example",))], {})
    assert outcome(foreign, request_of(judgement=alice)) == (None, Reason.CERTIFICATE_NOT_ALLOWED)
    bound = Engine([observing(bind_user="email")], {})
    bob = request_of(judgement=alice, login=Login(("bob",), None, None))
    assert outcome(bound, bob) == (None, Reason.USER_MISMATCH)
    carried = request_of(judgement=alice, connection_login=ConnectionLogin((), is_hidden=True))
    assert outcome(bound, carried) == (None, Reason.USER_MISMATCH)


def test_rules_above_and_below_decide_as_ever(observing, rule, request_of):
    rules = [rule("deny", uris=("/secret",)), observing(networks=("internal",)), rule("deny")]
    networks = {"internal": ()}
    assert outcome(Engine(rules, networks), request_of("/secret")) == (Reason.DENIED_BY_RULE, None)
    assert outcome(Engine(rules, networks), request_of("/other")) == (Reason.DENIED_BY_RULE, None)


def test_a_path_of_which_one_reading_is_observed_is_observed(observing, rule, request_of):
    rules = [rule(uris=("/open",)), rule("deny", name="no", uris=("/no",)), observing()]
    engine, request = Engine(rules, {}), request_of("/open")
    decision = engine.decide_every(request, ("/open/x", "/new", "/other"))
    assert (decision.reason, decision.observed, decision.rule) == (None, Reason.CERTIFICATE_MISSING, "new")
    assert decision.detail == "the client sent no certificate; some servers read the path as /new"
    assert engine.decide_every(request, ("/new", "/no")).reason is Reason.DENIED_BY_RULE
    assert engine.decide_every(request_of("/new"), ("/open",)) == engine.decide(request_of("/new"))
    assert engine.decide_every(request, ("/open/x",)) == engine.decide(request)


def test_the_client_is_asked_for_a_certificate_as_if_the_rule_refused(observing, request_of):
    for enforce in (False, True):
        engine = Engine([observing(enforce)], {})
        assert engine.asks_for_certificate(request_of().address, "mail.example.com", ("mail.example.com",))


@pytest.mark.parametrize(
    ("enforce", "now", "refuses"),
    [
        (True, -inf, True),
        (False, inf, False),
        (DAY, BEFORE, False),
        (DAY, MIDNIGHT - 0.001, False),
        (DAY, MIDNIGHT, True),
        (DAY, inf, True),
        (date(2001, 1, 1), MIDNIGHT, True),
    ],
)
def test_the_day_begins_at_midnight_utc(observing, request_of, enforce, now, refuses):
    reason = Reason.CERTIFICATE_MISSING
    expected = (reason, None) if refuses else (None, reason)
    assert outcome(Engine([observing(enforce)], {}, now), request_of()) == expected


def test_without_a_time_a_day_has_come(observing, request_of):
    assert outcome(Engine([observing(DAY)], {}), request_of()) == (Reason.CERTIFICATE_MISSING, None)


def test_each_rule_has_its_own_day(observing, rule, request_of):
    late = DAY + timedelta(days=1)
    rules = [rule("require_certificate", uris=("/a",), enforce=DAY), observing(late)]
    engine = Engine(rules, {}, BEFORE)
    assert engine.changes_at == MIDNIGHT
    later = engine.at(MIDNIGHT)
    assert later.changes_at == MIDNIGHT + 86400
    assert outcome(later, request_of("/a")) == (Reason.CERTIFICATE_MISSING, None)
    assert outcome(later, request_of("/b")) == (None, Reason.CERTIFICATE_MISSING)
    last = later.at(MIDNIGHT + 86400)
    assert last.changes_at == inf
    assert outcome(last, request_of("/b")) == (Reason.CERTIFICATE_MISSING, None)
    assert outcome(engine, request_of("/a")) == (None, Reason.CERTIFICATE_MISSING)  # an engine never changes


def test_a_clock_that_is_set_back_opens_nothing_again(observing, request_of):
    engine = Engine([observing(DAY)], {}, MIDNIGHT).at(BEFORE)
    assert (engine.now, engine.changes_at) == (MIDNIGHT, inf)
    assert outcome(engine, request_of()) == (Reason.CERTIFICATE_MISSING, None)


@pytest.mark.parametrize("networks", [None, ("internal",), (PROXY,)])
@pytest.mark.parametrize("origin", [Origin.PROXY, Origin.UNNAMED])
def test_where_no_client_is_known_only_a_rule_that_lists_the_proxy_observes(
    observing, rule, request_of, networks, origin
):
    """`allow` would not let such a request in, either."""
    known = {"internal": (ip_network("10.0.0.0/8"),)}
    request = request_of(address=PROXY, origin=origin)
    reason, observed = outcome(Engine([observing(networks=networks)], known), request)
    is_let_in = Engine([rule(networks=networks)], known).decide(request).reason is None
    assert (reason is None) == is_let_in == (networks == (PROXY,))
    assert observed == (Reason.CERTIFICATE_MISSING if is_let_in else None)


def test_a_trace_tells_of_the_observation(observing, request_of, trusted):
    engine = Engine([observing()], {})
    (step,) = engine.trace(request_of())
    assert (step.is_observed, step.observed, step.checks[-1].is_met) == (True, Reason.CERTIFICATE_MISSING, False)
    (step,) = engine.trace(request_of(judgement=trusted()))
    assert (step.is_observed, step.observed, step.checks[-1].is_met) == (True, None, True)
    (step,) = Engine([observing(enforce=True)], {}).trace(request_of())
    assert (step.is_observed, step.observed, step.checks[-1].is_met) == (False, None, False)
