"""Describes rules in observation in words: what happens to requests that such a rule would refuse, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gateway.config.days import format_day
from gateway.facts import Action
from gateway.policy.rules import CertificateConditions, Rule


def is_observed(rule: Rule, now: datetime) -> bool:
    """Whether the rule is in observation at `now`: it lets in requests that it would refuse."""
    return rule.action is Action.REQUIRE_CERTIFICATE and not rule.refuses_at(now.timestamp())


def outlook(rule: Rule) -> str:
    """What a rule in observation does with unsuitable requests, and what its day will change."""
    if isinstance(rule.enforce, bool):
        return f"requests {_unfit(rule)} are let in, with no end date"
    return f"from {format_day(rule.enforce)} on (00:00 UTC), requests {_unfit(rule)} are refused"


def notes_of(rules: tuple[Rule, ...], now: datetime) -> Iterator[tuple[int, str, str]]:
    """(a rule's index, cause, remedy) for each rule with a day: what the day will change, or has changed."""
    for index, rule in enumerate(rules):
        if isinstance(rule.enforce, bool):
            continue
        if is_observed(rule, now):
            yield index, f"the rule is in observation; {outlook(rule)}", ""
        else:
            cause = f"since {format_day(rule.enforce)}, requests {_unfit(rule)} are refused"
            yield index, cause, "write enforce: true, so that a clock that is set back can't change that"


def _unfit(rule: Rule) -> str:
    """The requests that the rule refuses once it is enforced."""
    if rule.certificate in {None, CertificateConditions()}:
        return "without a certificate"
    return "without a certificate that satisfies the rule"
