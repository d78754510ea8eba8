"""What `gateway explain --log` tells from a line alone is what the rules decide with full knowledge of the request."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pki import Ca, server
from support.rules import rule_of

from gateway.cli.replay.verdicts import Kind, Replay
from gateway.config.load import load
from gateway.facts import (
    NO_CERTIFICATE,
    NO_CONNECTION_LOGIN,
    Action,
    ConnectionLogin,
    Decision,
    Identity,
    Judgement,
    Origin,
    Reason,
    Request,
    parse_address,
)
from gateway.http.login import HIDDEN_LOGIN, kind_of, login_of, path_for_login
from gateway.logs.entry import parse
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.policy.engine import Engine
from gateway.policy.rules import CertificateConditions
from gateway.policy.uri import normalise
from gateway.proxy.exchange.admission import named_user

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CONFIG = """\
listen: [{address: "127.0.0.1:0"}]
networks: {internal: [10.0.0.0/8], office: [203.0.113.0/28]}
trusted_proxies: [10.9.9.0/24]
sites:
  - {hosts: [mail.example.com, "*.b.example"], certificate: server.crt, key: server.key, client_ca: [ca.crt],
      upstream: mail}
  - {hosts: [own.example.com], certificate: server.crt, key: server.key, client_ca: [ca.crt], upstream: own}
  - {hosts: [bare.example.com], certificate: server.crt, key: server.key, upstream: mail}
upstreams:
  mail: {servers: ["http://127.0.0.1:1"]}
  own: {servers: ["http://127.0.0.1:1"], connections: per_client}
rules: [{name: Rest, action: deny}]
"""
SITES = {"mail.example.com": 0, "x.b.example": 0, "own.example.com": 1, "bare.example.com": 2}
EAS = "/Microsoft-Server-ActiveSync"
PATHS = ["/", "/webmail", "/webmail/x", "/owa", "/x;webmail", "/webmail%C4%B1.", "/owa;token=1", EAS, "/sogo" + EAS]
USERS = ["alice", "alice@example.com", "CORP\\alice", "bob", "", "bob@other.example", "x\u202ey", "j\u00f6rg"]
EMAILS = ["alice@example.com", "bob@other.example", "a.smith@example.com", "o'hara\u200e@example.com"]
SUBJECTS = [
    (),
    (("CN", "alice"),),
    (("O", "Example, Ltd"), ("CN", "alice@example.com")),
    (("O", " Example+Ltd\\ "), ("CN", "x"), ("CN", "alice")),
    (("emailAddress", "alice@example.com"), ("CN", "J\u00f6rg\u200e")),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    dates = {"not_before": NOW - timedelta(days=1), "not_after": NOW + timedelta(days=9000)}
    Ca.make("CN=Test Root", **dates).write(folder, "ca")
    server(folder)
    (folder / "config.yaml").write_text(CONFIG)
    return load(folder / "config.yaml")


def _mostly(random, nothing, *some):
    """Conditions are rare: a rule with several of them decides on few requests."""
    return nothing if random.random() < 0.75 else random.choice(some)


def some_conditions(random):
    return CertificateConditions(
        ca_fingerprints=_mostly(random, None, None, frozenset({"aa" * 32})),
        subject=_mostly(random, (), (), (("O", "Example*"),), (("CN", "alice"),), (("E", "alice@*"),)),
        emails=_mostly(random, (), ("*@example.com",), ("a.smith@*",)),
        fingerprints_sha256=_mostly(random, frozenset(), frozenset(), frozenset({"01" * 32})),
        bind_user=random.choice([None, "email", "upn", "cn", "san"]),
        device_ids=_mostly(random, frozenset(), frozenset({"DEV1"})),
    )


def some_rules(random):
    rules = []
    for number in range(random.randint(1, 3)):
        action = random.choice([*Action, *[Action.REQUIRE_CERTIFICATE] * 4])
        is_requiring = action is Action.REQUIRE_CERTIFICATE
        rules.append(
            rule_of(
                name=f"rule {number}",
                action=action,
                line=number,
                networks=_mostly(random, None, ("internal",), ("external",), ("office", "10.9.9.1")),
                hosts=_mostly(random, None, ("mail.example.com",), ("own.example.com", "*.b.example"), ("*",)),
                uris=_mostly(random, None, ("/",), ("/webmail", "=/owa"), (EAS,), ("~/.*sync", "~/[a-z]+")),
                methods=_mostly(random, None, frozenset({"GET"}), frozenset({"POST", "OPTIONS"})),
                certificate=some_conditions(random) if is_requiring else None,
                enforce=_mostly(random, True, False, date(2027, 3, 1)) if is_requiring else True,
            )
        )
    return rules


ANY_CERTIFICATE = rule_of(name="any", action=Action.REQUIRE_CERTIFICATE, line=1)  # so that the line tells of the trust


@dataclass(frozen=True)
class Sent:
    """A request, with all that the gateway knows and all that it would know if it asked."""

    address: str
    port: int | None
    origin: Origin
    host: str
    site: int
    method: str
    target: str
    destination: str | None
    authorization: bytes | None
    carried: ConnectionLogin
    judgement: Judgement  # if the client is asked for a certificate


def some_query(random, path):
    if "Sync" not in path:
        return random.choice(["", "?folder=1", "?token=geheim"])
    user, device = (
        random.choice(["alice", "alice%40example.com", "bob", ""]),
        random.choice(["DEV1", "D2", ""]),
    )
    return random.choice(
        [
            "",
            f"?Cmd=Sync&User={user}&DeviceId={device}&DeviceType=x",
            f"?Cmd=Sync&User={user}&DeviceId={device}&token=geheim",
            f"?Cmd=Sync&User={user}&User=bob",
            "?!",
        ]
    )


def some_judgement(random, *, has_authority):
    if random.random() < 0.25:
        return NO_CERTIFICATE
    rdns = random.choice(SUBJECTS)
    emails = tuple(random.sample(EMAILS, random.randint(0, 2)))
    reason = random.choice(
        [None, None, None, Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_REVOKED, Reason.CERTIFICATE_UNTRUSTED]
    )
    if not has_authority:
        reason = Reason.CERTIFICATE_UNTRUSTED
    names = [value for name, value in rdns if name == "CN"]
    identity = Identity(
        fingerprint=random.choice(["01" * 32, "02" * 32]),
        serial="01",
        subject=",".join(f"{name}={_escaped(value)}" for name, value in reversed(rdns)),
        issuer="CN=Stranger" if reason is Reason.CERTIFICATE_UNTRUSTED else "CN=Test Root",
        rdns=rdns,
        common_name=names[-1] if names else None,
        emails=emails,
        upns=random.choice([(), ("alice@corp.example",), ("bob",)]),
        dns_names=random.choice([(), ("bob",)]),
        uris=(),
        not_before=NOW,
        not_after=NOW,
        der=b"",
        chain_der=(),
        path_fingerprints=frozenset(random.choice([(), ("aa" * 32,), ("bb" * 32,)])),
        is_constrained=random.random() < 0.5,
    )
    return Judgement(identity, reason, "its detail")


def _escaped(value):
    text = "".join(f"\\{letter}" if letter in '\\"+,;<>' else letter for letter in value)
    if text[:1] == " ":
        text = "\\" + text
    return text[:-1] + "\\ " if text[-1:] == " " else text


def some_request(random):
    address, port, origin = random.choice(
        [
            ("10.1.2.3", 5, Origin.CLIENT),
            ("198.51.100.7", 5, Origin.CLIENT),
            ("203.0.113.3", None, Origin.CLIENT),
            ("10.9.9.1", 5, Origin.UNNAMED),
            ("10.9.9.2", None, Origin.PROXY),
        ]
    )
    host = random.choice(list(SITES))
    path, second = random.choice(PATHS), random.choice(PATHS)
    method = random.choice(["GET", "POST", "OPTIONS", "get", "COPY"])
    user = random.choice(USERS).encode()
    authorization = random.choice(
        [
            None,
            b"Basic " + b64encode(user + b":secret"),
            b"Basic !",
            b"Bearer abc",
            b"Digest abc",
            b"NTLM abc",
            b"Odd abc",
        ]
    )
    is_own = SITES[host] == 1
    carried = [NO_CONNECTION_LOGIN, HIDDEN_LOGIN, ConnectionLogin(("bob",)), ConnectionLogin(("alice",))]
    return Sent(
        address, port, origin, host, SITES[host], method,
        path + some_query(random, path),
        second + some_query(random, second) if method == "COPY" and random.random() < 0.8 else None,
        authorization,
        random.choice(carried) if is_own else NO_CONNECTION_LOGIN,
        some_judgement(random, has_authority=SITES[host] != 2),
    )  # fmt: skip


def decide(rules, config, sent, record=None) -> Decision:
    """As `Admission.admit`, which also fills the record."""
    engine = Engine(rules, config.networks, NOW.timestamp())
    site = config.sites[sent.site]
    is_proxied = sent.origin is not Origin.CLIENT or sent.port is None
    address = parse_address(sent.address)
    is_asked = engine.asks_for_certificate(None if is_proxied else address, sent.host, site.hosts)
    judgement = sent.judgement if is_asked else NO_CERTIFICATE

    def ask(target):
        login = login_of(path_for_login(target.match, target.readings), target.query, sent.authorization)
        request = Request(
            address, sent.host, sent.method, target.match, judgement, login, sent.carried, origin=sent.origin
        )
        return login, engine.decide_every(request, target.readings)

    login, decision = ask(normalise(sent.target.encode()))
    where = ""
    if decision.reason is None and sent.destination is not None:
        _, second = ask(normalise(sent.destination.encode()))
        if second.reason is not None:
            decision, where = second, "the Destination: "
        elif decision.observed is None and second.observed is not None:
            decision = second
    if record is not None:
        record.connection = ConnectionFields(
            client_ip=sent.address, client_port=sent.port, site=site.name, identity=judgement.identity
        )
        record.method, record.host, record.uri = sent.method, sent.host, sent.target.encode()
        record.login, record.user, record.device_id = kind_of(login, sent.carried), named_user(login), login.device_id
        record.rule, record.decision, record.observed = decision.rule, decision.action.value, None
        if decision.reason is not None:
            record.refused(decision.reason.value, where + decision.detail)
        elif decision.observed is not None:
            record.observed = decision.observed.value
    return decision


def replayed(rules, config, line) -> Replay:
    replay = Replay(replace(config, rules=tuple(rules)), NOW)
    entry = parse(line)
    assert entry is not None
    replay.take([entry])
    assert replay.requests == 1
    return replay


def check(config, before, after, sent):
    """What the line tells; None if it can't be told."""
    record = AccessRecord(ConnectionFields(), NOW.timestamp(), None)
    was = decide(before, config, sent, record)
    will_be = decide(after, config, sent)
    replay = replayed(after, config, record.to_json_line())
    if replay.cannot_tell:
        return None
    if was.reason is None:
        is_changed = will_be.reason is not None or will_be.observed is not None
    else:
        is_changed = will_be.reason is not was.reason
    assert replay.changed == is_changed
    if not is_changed:
        return "unchanged"
    (change,) = replay.changes
    told = change.would_be
    assert (told.reason, told.observed) == (
        will_be.reason and will_be.reason.value,
        will_be.observed and will_be.observed.value,
    )
    assert told.rule is None or told.rule == will_be.rule
    assert change.kind is (
        Kind.SHUT_OUT if was.reason is None else Kind.LET_IN if will_be.reason is None else Kind.OTHER_REASON
    )
    return change.kind


@given(st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_a_told_verdict_is_the_real_one(config, seed):
    random = Random(seed)
    for _ in range(100):
        before = some_rules(random) if random.random() < 0.5 else [ANY_CERTIFICATE]
        check(config, before, some_rules(random), some_request(random))


@given(st.integers(0, 10**9))
@settings(max_examples=20, deadline=None)
def test_a_certificate_and_a_login_are_told_rightly(config, seed):
    random = Random(seed)
    for _ in range(100):
        sent = some_request(random)
        if sent.judgement.identity is None or sent.site == SITES["bare.example.com"]:
            continue
        bound = CertificateConditions(bind_user=random.choice(["email", "upn", "cn", "san"]))
        conditions = some_conditions(random) if random.random() < 0.3 else bound
        after = rule_of(name="after", action=Action.REQUIRE_CERTIFICATE, line=1, certificate=conditions)
        trusted = replace(sent.judgement, reason=None, identity=replace(sent.judgement.identity, issuer="CN=Test Root"))
        check(config, [ANY_CERTIFICATE], [after], replace(sent, judgement=trusted))


@given(st.integers(0, 10**9))
@settings(max_examples=5, deadline=None)
def test_the_same_rules_change_nothing_but_what_is_in_observation(config, seed):
    random = Random(seed)
    for _ in range(50):
        rules, sent = some_rules(random), some_request(random)
        told = check(config, rules, rules, sent)
        assert told in {None, Kind.SHUT_OUT if decide(rules, config, sent).observed else "unchanged"}


def test_most_kinds_are_told_and_not_all_can_be(config):
    """Otherwise the tests above would hold for a program that tells nothing."""
    random = Random(1)
    found = Counter(check(config, some_rules(random), some_rules(random), some_request(random)) for _ in range(400))
    assert {None, "unchanged", *Kind} <= set(found)
    assert found[None] < found.total() / 2
