"""Requests, rules and certificates for the policy tests."""

from datetime import UTC, datetime

import pytest
from support.rules import rule_of

from gateway.facts import NO_CERTIFICATE, NO_LOGIN, Action, Identity, Judgement, Request, parse_address
from gateway.policy.rules import CertificateConditions


@pytest.fixture
def rule():
    def rule(action="allow", *, name="a rule", line=1, **conditions):
        return rule_of(name, Action(action), line, **conditions)

    return rule


@pytest.fixture
def request_of():
    def request_of(path="/", *, address="203.0.113.9", host="mail.example.com", method="GET", **more):
        judgement, login = more.pop("judgement", NO_CERTIFICATE), more.pop("login", NO_LOGIN)
        return Request(parse_address(address), host, method, path, judgement, login, **more)

    return request_of


@pytest.fixture
def identity():
    def identity(**names):
        values = {
            "fingerprint": "ab" * 32,
            "serial": "01",
            "subject": "CN=alice",
            "issuer": "CN=ca",
            "rdns": (),
            "common_name": None,
            "emails": (),
            "upns": (),
            "dns_names": (),
            "uris": (),
            "not_before": datetime(2026, 1, 1, tzinfo=UTC),
            "not_after": datetime(2027, 1, 1, tzinfo=UTC),
            "der": b"",
            "chain_der": (),
            "path_fingerprints": frozenset(),
        }
        return Identity(**(values | names))

    return identity


@pytest.fixture
def trusted(identity):
    return lambda **names: Judgement(identity(**names), None, "issued by CN=ca")


@pytest.fixture
def requiring(rule):
    """A rule that requires a certificate, with conditions."""
    return lambda **conditions: rule("require_certificate", certificate=CertificateConditions(**conditions))
