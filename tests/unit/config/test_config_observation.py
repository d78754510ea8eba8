"""Rules in observation: what the file may say, and what is said of it in words."""

from datetime import UTC, date, datetime, timedelta

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load_with_warnings
from gateway.config.observation import is_observed, notes_of, outlook
from gateway.facts import Action
from gateway.policy.rules import CertificateConditions, Rule

DAY = date(2027, 3, 1)
MIDNIGHT = datetime(2027, 3, 1, tzinfo=UTC)


def read(write, enforce):
    return load_with_warnings(write(f"{BASE}    enforce: {enforce}\n"), now=NOW, environ={"WHEN": "2027-03-01"})


@pytest.mark.parametrize(
    ("enforce", "expected"),
    [("true", True), ("2027-03-01", DAY), ('"2027-03-01"', DAY), ('"${WHEN}"', DAY), ("2020-01-01", date(2020, 1, 1))],
)
def test_what_may_be_written(write, enforce, expected):
    loaded = read(write, enforce)
    assert loaded.config.rules[1].enforce == expected
    assert loaded.warnings == ()


def test_a_rule_refuses_where_nothing_is_said(write):
    assert load_with_warnings(write(BASE), now=NOW, environ={}).config.rules[1].enforce is True


def test_observation_without_an_end_is_a_warning(write):
    loaded = read(write, "false")
    assert loaded.config.rules[1].enforce is False
    (warning,) = map(str, loaded.warnings)
    assert warning == (
        "config.yaml:18:14: warning: rules[1].enforce: the rule is in observation with no end date: it lets in "
        "requests that it would refuse; write true, or the first day on which it refuses"
    )


@pytest.mark.parametrize(("days", "is_far"), [(366, False), (367, True), (3660, True)])
def test_a_day_that_is_far_off_is_a_warning(write, days, is_far):
    loaded = read(write, (NOW + timedelta(days=days)).date())
    assert [warning.remedy for warning in loaded.warnings] == (["check the year"] if is_far else [])


def rule(enforce, certificate=None, action=Action.REQUIRE_CERTIFICATE):
    return Rule("outside", action, 17, certificate=certificate, enforce=enforce)


def test_what_the_day_brings_in_words():
    assert outlook(rule(DAY)) == "from 1 March 2027 on (00:00 UTC), requests without a certificate are refused"
    assert outlook(rule(DAY, CertificateConditions())) == outlook(rule(DAY))
    assert outlook(rule(DAY, CertificateConditions(emails=("*@example.com",)))) == (
        "from 1 March 2027 on (00:00 UTC), requests without a certificate that satisfies the rule are refused"
    )
    assert outlook(rule(enforce=False)) == "requests without a certificate are let in, with no end date"


def test_a_rule_is_in_observation_until_its_day_begins():
    before = MIDNIGHT - timedelta(microseconds=1)
    assert is_observed(rule(DAY), before)
    assert not is_observed(rule(DAY), MIDNIGHT)
    assert is_observed(rule(enforce=False), MIDNIGHT)
    assert not is_observed(rule(enforce=True), before)
    assert not is_observed(rule(enforce=True, action=Action.ALLOW), before)


def test_each_rule_with_a_day_is_noted_before_and_after_it():
    rules = (rule(enforce=True), rule(DAY), rule(enforce=False))
    assert list(notes_of(rules, MIDNIGHT - timedelta(days=1))) == [
        (
            1,
            "the rule is in observation; from 1 March 2027 on (00:00 UTC), requests without a certificate are refused",
            "",
        )
    ]
    assert list(notes_of(rules, MIDNIGHT)) == [
        (
            1,
            "since 1 March 2027, requests without a certificate are refused",
            "write enforce: true, so that a clock that is set back can't change that",
        )
    ]
