"""A rule in observation: its requests go upstream as requests without a certificate, until the rule's day comes."""

from datetime import timedelta

import pytest
from support.dialogue import OUTSIDE, get, header, request, response, status
from support.pki import NOW, Ca
from support.websocket import upgraded

from gateway import clock

# The day after the dialogues' clock starts, at noon.
DAY = "2026-11-25"
NOON_TO_MIDNIGHT_SECONDS = 12 * 3600
# The sweep comes once a second.
LATE_SECONDS = 2
NAMES = ("Client-Cert", "X-Client-Subject", "X-Client-Email", "X-Client-Serial", "X-Client-Fingerprint")


def observing(enforce=False, *, name="new", **conditions):
    more = {"certificate": conditions} if conditions else {}
    return {"name": name, "action": "require_certificate", "enforce": enforce, **more}


@pytest.fixture
def make(make_world, monkeypatch):
    """A world with this rule alone, a few seconds before its day."""

    def make(rule=None, seconds=30, **settings):
        monkeypatch.setattr(clock, "unix_seconds", NOW.timestamp)
        rules = settings.pop("rules", None) or [rule or observing(DAY)]
        is_started = settings.pop("is_started", True)
        world = make_world(rules=rules, is_started=is_started, **settings)
        world.clock.seconds = NOON_TO_MIDNIGHT_SECONDS - seconds
        return world

    return make


def told(world, *lines, leaf=None, path="/webmail"):
    """The head that the upstream reads, once the client has its answer."""
    client = world.client(OUTSIDE, leaf)
    client.says(get(path, *lines))
    server = world.accepts()
    head = server.hears()
    server.says(response(body=b"hi"))
    assert client.hears().endswith(b"hi")
    return head


def is_anonymous(head):
    return header(head, "X-Client-Verified") == "NONE" and not any(header(head, name) for name in NAMES)


def refusals(world):
    return world.service.counters.as_dict()["observed"]


def test_a_request_without_a_certificate_passes_and_the_log_has_the_reason(make):
    world = make(observing())
    assert is_anonymous(told(world))
    record = world.record
    assert (record["status"], record["reason"], record["detail"]) == (200, None, None)
    assert (record["observed"], record["rule"]) == ("certificate_missing", "new")
    assert record["decision"] == "require_certificate"
    assert refusals(world) == [["new", "certificate_missing", 1]]


def stranger(_):
    return Ca.make("CN=Elsewhere").issue("CN=mallory", email="alice@example.com")


def expired(files):
    return files.ca.issue("CN=alice", email="alice@example.com", not_after=NOW - timedelta(days=1))


def partner(files):
    return files.ca.issue("CN=alice", email="alice@partner.example")


def alice(files):
    return files.ca.issue("CN=alice", email="alice@example.com")


BASIC_BOB = "Authorization: Basic Ym9iOng="


@pytest.mark.parametrize(
    ("holder", "line", "reason"),
    [
        (stranger, "Accept: */*", "certificate_untrusted"),
        (expired, "Accept: */*", "certificate_expired"),
        (partner, "Accept: */*", "certificate_not_allowed"),
        (alice, BASIC_BOB, "user_mismatch"),
        (alice, "Authorization: NTLM TlRMTVNTUAAB", "user_mismatch"),
    ],
)
def test_a_wrong_certificate_is_none_for_the_upstream_and_in_the_log_the_one_that_was_shown(
    make, files, holder, line, reason
):
    world = make(observing(email=["*@example.com"], bind_user="email"))
    leaf = holder(files)
    assert is_anonymous(told(world, line, leaf=leaf))
    record = world.record
    assert (record["status"], record["reason"], record["observed"]) == (200, None, reason)
    assert record["cert_subject"] == leaf.certificate.subject.rfc4514_string()


def test_a_certificate_that_satisfies_the_rule_goes_upstream_as_ever(make, files):
    world = make(observing(email=["*@example.com"]))
    head = told(world, leaf=alice(files))
    assert (header(head, "X-Client-Verified"), header(head, "X-Client-Email")) == ("SUCCESS", "alice@example.com")
    assert (world.record["observed"], refusals(world)) == (None, [])


def test_identity_headers_that_the_client_sends_do_not_pass(make):
    world = make(observing())
    assert is_anonymous(told(world, "X-Client-Email: alice@example.com", "X-Client-Verified: SUCCESS"))


def test_each_repeated_request_is_logged_and_counted(make):
    world = make(observing())
    client = world.client(OUTSIDE)
    server = None
    for _ in range(3):
        client.says(get("/webmail"))
        server = server or world.accepts()
        assert is_anonymous(server.hears())
        server.says(response())
    assert [record["observed"] for record in world.records] == ["certificate_missing"] * 3
    assert refusals(world) == [["new", "certificate_missing", 3]]


def test_after_a_request_in_observation_the_certificate_still_counts_for_other_rules(make, files):
    """One connection, two rules: what the one makes of the certificate is nothing to the other."""
    rules = [{"name": "open", "uri": ["/open"], "action": "allow"}, observing(email=["*@other.example"])]
    world = make(rules=rules)
    client = world.client(OUTSIDE, alice(files))
    client.says(get("/webmail"))
    server = world.accepts()
    assert is_anonymous(server.hears())
    server.says(response())
    client.says(get("/open"))
    head = server.hears()
    assert (header(head, "X-Client-Verified"), header(head, "X-Client-Email")) == ("SUCCESS", "alice@example.com")
    server.says(response())
    assert [record["observed"] for record in world.records] == ["certificate_not_allowed", None]


@pytest.mark.parametrize(
    ("source", "target", "rule"),
    [("/open/a", "/new/b", "new"), ("/new/a", "/open/b", "new"), ("/new/a", "/new/b", "new")],
)
def test_where_a_copy_goes_is_observed_too(make, files, source, target, rule):
    rules = [{"name": "open", "uri": ["/open"], "action": "allow"}, observing(email=["*@other.example"])]
    world = make(rules=rules)
    client = world.client(OUTSIDE, alice(files))
    client.says(request("COPY", source, f"Destination: https://mail.example.com{target}"))
    server = world.accepts()
    head = server.hears()
    assert is_anonymous(head)
    assert header(head, "Destination") == f"http://mail.example.com{target}"
    server.says(response("201 Created"))
    assert status(client.hears()) == 201
    assert (world.record["observed"], world.record["rule"]) == ("certificate_not_allowed", rule)


def test_a_path_that_some_servers_read_as_one_in_observation_is_observed(make, files):
    world = make(rules=[{"name": "open", "uri": ["~/f/a[.]"], "action": "allow"}, observing(email=["*@other.example"])])
    assert is_anonymous(told(world, leaf=alice(files), path="/f/a."))
    assert (world.record["observed"], world.record["rule"]) == ("certificate_not_allowed", "new")


def test_a_copy_to_where_a_rule_refuses_is_refused(make):
    rules = [{"name": "no", "uri": ["/no"], "action": "deny"}, observing()]
    world = make(rules=rules)
    client = world.client(OUTSIDE)
    client.says(request("COPY", "/a", "Destination: https://mail.example.com/no/b"))
    assert header(client.hears(), "X-Gateway-Reason") == "denied_by_rule"
    assert (world.record["observed"], world.record["rule"], refusals(world)) == (None, "no", [])


def test_refused_certificates_in_observation_lock_nobody_out(make, files):
    world = make(observing(), lockout={"failures": 1, "window": "10m", "ban": "15m", "count": ["login", "certificate"]})
    reports = []
    world.service.lockout.on_failures = reports.append
    told(world, leaf=stranger(files))
    world.passes(LATE_SECONDS)
    assert reports == []


def test_a_client_that_is_locked_out_is_refused_and_nothing_is_observed(make):
    world = make(observing())
    world.service.lockout.bans = {OUTSIDE: world.clock.unix_seconds() + 60}
    client = world.client(OUTSIDE)
    client.says(get())
    assert status(client.hears()) == 429
    assert (world.record["observed"], refusals(world)) == (None, [])
    assert world.record["detail"].endswith("it would have been let in")


# when the day comes


def begun(world, leaf=None):
    """(a request without an answer yet, an answer that has begun, a tunnel)."""
    waiting, half = world.client(OUTSIDE, leaf), world.client(OUTSIDE, leaf)
    waiting.says(get())
    assert world.accepts().hears()
    half.says(get())
    world.accepts().says(response("200 OK", "Content-Length: 100", body=b"half"))
    assert half.hears().endswith(b"half")
    tunnel, _ = upgraded(world, world.client(OUTSIDE, leaf))
    return waiting, half, tunnel


def test_until_its_day_everything_goes_on_and_then_everything_is_judged_again(make):
    world = make()
    waiting, half, tunnel = begun(world)
    world.passes(29)
    assert waiting.hears() == b""
    assert not half.was_aborted
    assert not tunnel.was_aborted
    world.passes(1 + LATE_SECONDS)
    answer = waiting.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (403, "certificate_missing")
    assert half.was_aborted
    assert tunnel.was_aborted
    assert {(record["reason"], record["observed"]) for record in world.records} == {
        ("certificate_missing", "certificate_missing")
    }
    assert world.service.snapshot.engine.changes_at == float("inf")


def test_the_holder_of_a_certificate_sees_nothing_of_the_day(make, files):
    world = make()
    waiting, half, tunnel = begun(world, alice(files))
    world.passes(30 + LATE_SECONDS)
    assert not half.was_aborted
    assert not tunnel.was_aborted
    assert waiting.hears() == b""
    assert waiting.is_open


def test_the_next_request_of_an_open_connection_is_refused_from_the_day_on(make):
    world = make()
    client = world.client(OUTSIDE)
    client.says(get())
    server = world.accepts()
    server.hears()
    server.says(response())
    assert status(client.hears()) == 200
    world.passes(30 + LATE_SECONDS)
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_missing"


def test_a_clock_that_is_set_back_opens_nothing_again(make):
    world = make()
    world.passes(30 + LATE_SECONDS)
    world.clock.start -= timedelta(days=30)
    world.passes(LATE_SECONDS)
    client = world.client(OUTSIDE)
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_missing"


def test_a_worker_that_begins_after_the_day_with_what_was_read_before_refuses_at_once(make):
    world = make(is_started=False)
    world.clock.seconds = NOON_TO_MIDNIGHT_SECONDS
    world.starts()
    client = world.client(OUTSIDE)
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_missing"


# when the certificate ends first


def test_a_request_that_went_upstream_with_its_certificate_does_not_go_on_without(make, files):
    leaf = files.ca.issue("CN=ending", not_after=NOW + timedelta(seconds=NOON_TO_MIDNIGHT_SECONDS))
    world = make(observing())
    waiting, half, tunnel = begun(world, leaf)
    world.passes(30 + LATE_SECONDS)
    assert header(waiting.hears(), "X-Gateway-Reason") == "certificate_expired"
    assert half.was_aborted
    assert tunnel.was_aborted
    assert {(record["reason"], record["observed"]) for record in world.records} == {("certificate_expired", None)}
    assert is_anonymous(told(world, leaf=leaf))
    assert world.records[-1]["observed"] == "certificate_expired"


def test_a_request_that_went_upstream_without_a_certificate_goes_on(make, files):
    world = make(observing())
    waiting, half, tunnel = begun(world, expired(files))
    world.does(world.service.adopt, files.snapshot(rules=[observing()]))
    assert waiting.is_open
    assert not half.was_aborted
    assert not tunnel.was_aborted


def test_a_request_that_was_let_in_by_observation_and_is_refused_by_new_rules_names_the_new_rule(make, files):
    world = make(observing())
    waiting, half, tunnel = begun(world, expired(files))
    world.does(world.service.adopt, files.snapshot(rules=[observing(enforce=True, name="enforced")]))
    assert header(waiting.hears(), "X-Gateway-Reason") == "certificate_expired"
    assert half.was_aborted
    assert tunnel.was_aborted
    assert {(record["reason"], record["rule"]) for record in world.records} == {("certificate_expired", "enforced")}


def test_a_request_that_waits_while_rules_change_is_judged_when_its_turn_comes(make, files):
    world = make(observing(), limits={"requests_per_second_per_ip": 1})
    snapshot = files.snapshot(rules=[observing()], limits={"requests_per_second_per_ip": 1})
    client = world.client(OUTSIDE, expired(files))
    client.says(get())
    server = world.accepts()
    while server.hears():
        server.says(response())
        client.says(get())
    world.does(world.service.adopt, snapshot)
    assert client.is_open
    world.passes(LATE_SECONDS)
    assert is_anonymous(server.hears())
