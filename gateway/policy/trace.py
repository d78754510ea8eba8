"""How a decision was made, rule by rule and condition by condition, in words.

Keeps true: the words come from the same matchers that decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.facts import Action, Reason, Request
from gateway.policy.matcher import Matcher


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one condition of a rule holds for a request."""

    condition: str  # the key in the file: from, hosts, uri, methods, certificate
    is_met: bool
    why: str  # one line


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was tried, with all its conditions."""

    rule: str
    line: int
    action: Action
    is_match: bool
    checks: tuple[Check, ...]
    is_observed: bool = False  # the rule is in observation: it lets in requests that it would refuse
    observed: Reason | None = None  # why it would refuse this request, which it lets in

    @property
    def why(self) -> str:
        """Why the rule matched or didn't, in one line."""
        failed = [check.why for check in self.checks if not check.is_met and check.condition != "certificate"]
        return failed[0] if failed else "all conditions hold" if self.checks else "the rule has no conditions"


def trace(matchers: Sequence[Matcher], request: Request) -> tuple[Step, ...]:
    """All rules from the first to the one that decides."""
    steps: list[Step] = []
    for matcher in matchers:
        is_match, observed = matcher.matches(request), None
        checks = tuple(_checks(matcher, request))
        if is_match and matcher.rule.action is Action.REQUIRE_CERTIFICATE:
            verdict = matcher.verdict(request)
            observed = verdict.observed
            is_met = verdict.reason is None and observed is None
            checks = (*checks, Check("certificate", is_met, verdict.detail))
        rule = matcher.rule
        steps.append(Step(rule.name, rule.line, rule.action, is_match, checks, matcher.is_observed, observed))
        if is_match:
            break
    return tuple(steps)


def _checks(matcher: Matcher, request: Request) -> Iterable[Check]:
    rule = matcher.rule
    if matcher.must_list(request):
        why = f"{request.address} is a trusted proxy, not a client, so from must list this address"
        yield Check("from", matcher.is_from_client(request), why)
    elif rule.networks is not None:
        yield _check("from", matcher.is_from(request.address), str(request.address), rule.networks)
    if rule.hosts is not None:
        yield _check("hosts", matcher.is_for_host(request.host), request.host, [host.text for host in rule.hosts])
    if rule.uris is not None:
        yield _check("uri", matcher.is_for_path(request.path), request.path, [uri.text for uri in rule.uris])
    if rule.methods is not None:
        yield _check("methods", matcher.is_for_method(request.method), request.method, sorted(rule.methods))


def _check(condition: str, is_met: bool, value: str, wanted: Sequence[str]) -> Check:
    listed = ", ".join(wanted) or "nothing"
    return Check(condition, is_met, f"{value} is {'' if is_met else 'not '}in {condition} [{listed}]")
