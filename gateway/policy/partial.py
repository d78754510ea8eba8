"""What the rules may decide on a request of which not everything is known, such as a line of the access log.

Keeps true: the outcomes contain the decision of `Engine.decide_every` on each request that the known facts fit. So
where all outcomes are the same, that is the decision. What is not known is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from gateway.facts import Action, Address, Reason
from gateway.policy.matcher import Matcher, prepare
from gateway.policy.networks import Network
from gateway.policy.partial_conditions import all_hold, reasons_of
from gateway.policy.partial_facts import Causes, Missing, PartialRequest
from gateway.policy.rules import Rule


class Outcome(NamedTuple):
    """A decision, without its words."""

    reason: Reason | None
    observed: Reason | None
    rule: Rule | None

    @property
    def verdict(self) -> tuple[Reason | None, Reason | None]:
        """What it means to the client."""
        return self.reason, self.observed


class Outcomes(NamedTuple):
    """All outcomes that are possible, and what decides between them."""

    all: frozenset[Outcome]
    missing: tuple[Missing, ...]

    @property
    def told(self) -> Outcome | None:
        """The outcome, where there is one. Its rule is None if no rule matches, or several may decide so."""
        first = next(iter(self.all))
        if len(self.all) == 1:
            return first
        return first._replace(rule=None) if len({each.verdict for each in self.all}) == 1 else None


_NO_RULE: Final = Outcome(Reason.NO_RULE, None, None)


class PartialRules:
    """The rules of a configuration, for requests of which not everything is known."""

    def __init__(self, rules: Sequence[Rule], networks: Mapping[str, Sequence[Network]], now: float) -> None:
        self._matchers = tuple(prepare(rule, networks, now) for rule in rules)

    def outcomes(self, request: PartialRequest) -> Outcomes:
        """What the rules may decide."""
        causes: Causes = {}
        found = self._of_paths(request, causes)
        if request.has_destination and any(each.reason is None for each in found):
            causes[Missing.DESTINATION] = None
            second = self._of_path(replace(request, sessions=()), None, causes)
            found |= {each for each in second if each.reason is not None or each.observed is not None}
        return Outcomes(frozenset(found), tuple(causes))

    def _of_paths(self, request: PartialRequest, causes: Causes) -> set[Outcome]:
        """As `Engine.strictest`: the first reading that is refused, or else observed, or else the path itself."""
        if not request.paths:
            return self._of_path(request, None, causes)
        found: set[Outcome] = set()
        path, *readings = request.paths
        passing: set[Outcome] = set()
        for outcome in self._of_path(request, path, causes):
            (passing if outcome.reason is None else found).add(outcome)
        for reading in readings:
            if not passing:
                break
            after: set[Outcome] = set()
            for outcome in self._of_path(request, reading, causes):
                if outcome.reason is not None:
                    found.add(outcome)
                else:
                    after |= {outcome if outcome.observed and not each.observed else each for each in passing}
            passing = after
        return found | passing

    def _of_path(self, request: PartialRequest, path: str | None, causes: Causes) -> set[Outcome]:
        found: set[Outcome] = set()
        for matcher in self._matchers:
            met: Causes = {}
            fits = _fits(matcher, request, path, met)
            if fits is False:
                continue
            causes |= met
            found |= set(_verdicts(matcher, request, path, causes))
            if fits:
                return found
        return {*found, _NO_RULE}


def _fits(matcher: Matcher, request: PartialRequest, path: str | None, met: Causes) -> bool | None:
    """Whether the rule matches; None: it may, and `met` gets what is not known."""
    if not matcher.is_for_method(request.method):
        return False
    return all_hold(
        (
            (_is_for_path(matcher, path), Missing.PATH),
            (_is_for_host(matcher, request.host), Missing.HOST),
            (_is_from(matcher, request.address), Missing.CLIENT),
        ),
        met,
    )


def _is_for_path(matcher: Matcher, path: str | None) -> bool | None:
    if path is not None:
        return matcher.is_for_path(path)
    uris = matcher.uris
    return True if uris is None or any(each.kind == "prefix" and not each.folded for each in uris) else None


def _is_for_host(matcher: Matcher, host: str | None) -> bool | None:
    if host is not None:
        return matcher.is_for_host(host)
    return True if matcher.hosts is None else None


def _is_from(matcher: Matcher, address: Address | None) -> bool | None:
    """A rule that lets in matches no client that a trusted proxy doesn't name, even without `from`."""
    if address is not None:
        return matcher.is_from(address)
    return True if matcher.networks is None and matcher.rule.action is Action.DENY else None


def _verdicts(matcher: Matcher, request: PartialRequest, path: str | None, causes: Causes) -> Iterator[Outcome]:
    rule = matcher.rule
    if rule.action is not Action.REQUIRE_CERTIFICATE:
        yield Outcome(matcher.usual.reason, None, rule)
        return
    for reason in reasons_of(matcher, request, path, causes):
        if reason is None:
            yield Outcome(None, None, rule)
            continue
        if matcher.is_observed:
            yield Outcome(None, reason, rule)
        if not matcher.is_observed or request.address is None:  # a proxy that names no client is refused
            yield Outcome(reason, None, rule)
