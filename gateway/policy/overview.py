"""The decisions on all possible requests: the table behind `gateway check --who`.

Keeps true: for every request, the entry of its host, address, path and method has the engine's decision.
Requests are grouped only if no condition of any rule treats them differently. The paths that a regular expression
matches are not known, so each path lists the expressions that are tried before its own rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from gateway.facts import Action, Address, Origin
from gateway.policy.characters import fold
from gateway.policy.hosts import HostPattern
from gateway.policy.index import RuleIndex
from gateway.policy.matcher import Matcher
from gateway.policy.networks import NetworkSet
from gateway.policy.rules import Rule
from gateway.policy.uri import EVERY_PATH_REGEXES, UriPattern

# No host, path or method of a request contains this, so it matches only conditions that match everything.
_OTHER: Final = "\0"
# Parts of a regular expression (RE2): a literal character, a choice of literal texts.
_LITERAL: Final = r"[^.^$*+?()\[\]{}|\\]|\\[^A-Za-z0-9|]|\[[^\\^\]|-]\]"
_LETTER: Final = re.compile(_LITERAL)
_CHOICE: Final = re.compile(rf"\((?:\?:)?((?:{_LITERAL}|\|)*)\)")
_ESCAPED: Final = re.compile(r"\\(.)|\[(.)\]")
_CLASS: Final = re.compile(r"\[\^?\]?[^\]]*\]")
_GROUP: Final = re.compile(r"\([^()]*\)")
_MAY_BE_LEFT_OUT: Final = frozenset("*?{")  # what is before one of these may be missing in a match
_STARTS: Final = 64  # more than an expression has


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rule that decides on a request; None if no rule matches, so that it is denied."""

    rule: Rule | None

    @property
    def action(self) -> Action:
        """What the rule does, or the default."""
        return Action.DENY if self.rule is None else self.rule.action


@dataclass(frozen=True, slots=True)
class ByMethod:
    """The outcome for some methods. `methods` None: all methods that no other entry has."""

    methods: tuple[str, ...] | None
    outcome: Outcome
    regexes: tuple[tuple[str, Outcome], ...]  # tried first, in this order; a path that matches one has its outcome


@dataclass(frozen=True, slots=True)
class PathEntry:
    """A path and everything below it that no other entry has; or one exact path."""

    pattern: UriPattern | None  # None: every other path
    methods: tuple[ByMethod, ...]


@dataclass(frozen=True, slots=True)
class AddressEntry:
    """Addresses that the rules treat alike: all inside, all outside, or all of trusted proxies."""

    is_inside: bool
    addresses: NetworkSet
    paths: tuple[PathEntry, ...]
    origin: Origin = Origin.CLIENT


@dataclass(frozen=True, slots=True)
class HostEntry:
    """Hosts that the rules treat alike. A wildcard, or `*`, stands for the hosts that no other entry has."""

    hosts: tuple[HostPattern, ...]
    addresses: tuple[AddressEntry, ...]


def overview(
    matchers: Sequence[Matcher],
    index: RuleIndex,
    site: Sequence[HostPattern],
    internal: NetworkSet,
    proxies: NetworkSet,
    others: Sequence[HostPattern] = (),
) -> tuple[HostEntry, ...]:
    """The decisions on all requests to a site. Hosts in rules that are not hosts of the site are left out.

    `others`: the hosts of all other sites.
    """
    table = _Table(matchers, index)
    runs = _runs(index, internal, proxies) + _proxy_runs(matchers, index, proxies)
    found: dict[tuple[AddressEntry, ...], list[HostPattern]] = {}
    for host in _hosts(matchers, site, others):
        bits = index.by_host(_example(host))
        found.setdefault(_addresses(table, runs, bits), []).append(host)
    return tuple(HostEntry(tuple(hosts), entries) for entries, hosts in found.items())


def _hosts(
    matchers: Sequence[Matcher], site: Sequence[HostPattern], others: Sequence[HostPattern]
) -> list[HostPattern]:
    """The site's hosts, and the narrower hosts in rules."""
    named = dict.fromkeys(site)
    for matcher in matchers:
        for pattern in matcher.hosts or ():
            if any(host.covers(pattern) and host.keeps(pattern, others) for host in site):
                named[pattern] = None
    return list(named)


def _example(host: HostPattern) -> str:
    """A host that only this pattern and wider ones match."""
    match host.kind:
        case "exact":
            return host.name
        case "wildcard":
            return f"{_OTHER}.{host.name}"
        case "any":
            return _OTHER
    assert_never(host.kind)


# Addresses that the rules treat alike: what they stand for, whether they are inside, and the rules for them.
_Run = tuple[Origin, bool, NetworkSet, int]


def _runs(index: RuleIndex, internal: NetworkSet, proxies: NetworkSet) -> list[_Run]:
    runs: list[_Run] = []
    for whole, bits in index.runs():
        addresses = whole.minus(proxies)
        runs.append((Origin.CLIENT, True, addresses.intersection(internal), bits))
        runs.append((Origin.CLIENT, False, addresses.minus(internal), bits))
    return runs


def _proxy_runs(matchers: Sequence[Matcher], index: RuleIndex, proxies: NetworkSet) -> list[_Run]:
    """The runs of trusted proxies. These are in no network, and some rules apply to them only if they list them."""
    runs: list[_Run] = []
    for origin in (Origin.UNNAMED, Origin.PROXY):
        for whole, bits in index.runs():
            addresses = whole.intersection(proxies)
            listed = addresses.only_one
            here = sum(1 << number for number in _numbers(bits) if _is_for_proxy(matchers[number], origin, listed))
            runs.append((origin, False, addresses, here))
    return runs


def _is_for_proxy(matcher: Matcher, origin: Origin, address: Address | None) -> bool:
    return matcher.rule.action not in origin.value or address in matcher.addresses


def _addresses(table: _Table, runs: Iterable[_Run], bits: int) -> tuple[AddressEntry, ...]:
    """An entry for each set of addresses with the same outcomes: inside first, larger sets first, proxies last."""
    found: dict[tuple[Origin, bool, tuple[PathEntry, ...]], NetworkSet] = {}
    for origin, is_inside, addresses, here in runs:
        if addresses.v4 or addresses.v6:
            key = origin, is_inside, table.paths(bits & here)
            found[key] = addresses.union(found.get(key, NetworkSet()))
    entries = (AddressEntry(inside, addresses, paths, origin) for (origin, inside, paths), addresses in found.items())
    return tuple(sorted(entries, key=_order))


def _order(entry: AddressEntry) -> tuple[bool, bool, list[int]]:
    return entry.origin is not Origin.CLIENT, not entry.is_inside, [-count for count in entry.addresses.counts]


_Outcomes = tuple[Outcome, tuple[tuple[str, Outcome], ...]]


class _Table:
    """The entries of paths for each set of rules that are for a host and an address."""

    def __init__(self, matchers: Sequence[Matcher], index: RuleIndex) -> None:
        self._matchers = matchers
        self._index = index
        self._known: dict[int, tuple[PathEntry, ...]] = {}

    def paths(self, bits: int) -> tuple[PathEntry, ...]:
        """An entry for each path with its own outcomes, the longest first; the last entry is for every other path."""
        if bits not in self._known:
            self._known[bits] = tuple(self._told_apart(bits))
        return self._known[bits]

    def _told_apart(self, bits: int) -> Iterator[PathEntry]:
        patterns = {
            (pattern.kind, pattern.folded): pattern
            for number in _numbers(bits)
            for pattern in self._matchers[number].uris or ()
            if pattern.kind == "exact" or pattern.folded
        }
        found = sorted(patterns.values(), key=lambda pattern: pattern.folded)
        names = [pattern.folded for pattern in found if pattern.kind == "prefix"]
        rest = PathEntry(None, self._by_method(bits, None, names))
        prefixes = {"": rest}
        for pattern in found:
            if pattern.kind == "prefix":
                deeper = [name for name in names if name.startswith(f"{pattern.folded}/")]
                prefixes[pattern.folded] = PathEntry(pattern, self._by_method(bits, pattern, deeper))
        for pattern in found:
            if pattern.kind == "exact":
                entry = PathEntry(pattern, self._by_method(bits, pattern, ()))
                if entry.methods != _above(prefixes, pattern.folded).methods:
                    yield entry
        for folded, entry in reversed(prefixes.items()):
            if folded and entry.methods != _above(prefixes, folded.rpartition("/")[0]).methods:
                yield entry
        yield rest

    def _by_method(self, bits: int, pattern: UriPattern | None, deeper: Sequence[str]) -> tuple[ByMethod, ...]:
        """The outcomes of one path. `deeper`: prefixes below it that have separate entries."""
        named = sorted({method for number in _numbers(bits) for method in self._matchers[number].methods or ()})
        rest = self._outcome(bits & self._index.by_method(_OTHER), pattern, deeper)
        groups: dict[_Outcomes, list[str]] = {}
        for method in named:
            if (outcome := self._outcome(bits & self._index.by_method(method), pattern, deeper)) != rest:
                groups.setdefault(outcome, []).append(method)
        some = (ByMethod(tuple(methods), *outcome) for outcome, methods in groups.items())
        return (*some, ByMethod(None, *rest))

    def _outcome(self, bits: int, pattern: UriPattern | None, deeper: Sequence[str]) -> _Outcomes:
        """The outcome of the first rule that always matches, and of regular expressions before it that may match."""
        certain = bits & self._index.by_path(_example_path(pattern))
        regexes: list[tuple[str, Outcome]] = []
        for number in _numbers(bits):
            rule = Outcome(self._matchers[number].rule)
            own = [each for each in self._matchers[number].uris or () if each.kind == "regex"]
            if certain >> number & 1 or any(_is_certain(regex, pattern) for regex in own):
                return rule, tuple(regexes)
            regexes += [(regex.text, rule) for regex in own if _may_match(regex, pattern, deeper)]
        return Outcome(None), tuple(regexes)


def _above(prefixes: dict[str, PathEntry], path: str) -> PathEntry:
    """The entry of the longest prefix of the path."""
    while path not in prefixes:
        path = path.rpartition("/")[0]
    return prefixes[path]


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _example_path(pattern: UriPattern | None) -> str:
    """A path that belongs to this entry and not to a deeper one."""
    if pattern is not None and pattern.kind == "exact":
        return pattern.folded
    return f"{pattern.folded if pattern else ''}/{_OTHER}"


def _is_certain(regex: UriPattern, pattern: UriPattern | None) -> bool:
    if pattern is not None and pattern.kind == "exact":
        return regex.matches(pattern.folded)
    return regex.text in EVERY_PATH_REGEXES


def _may_match(regex: UriPattern, pattern: UriPattern | None, deeper: Iterable[str]) -> bool:
    """False only if the beginning of the expression excludes these paths."""
    if pattern is not None and pattern.kind == "exact":
        return False
    path, below = pattern.folded if pattern else "", [f"{name}/" for name in deeper]
    return any(
        (path.startswith(start) or start.startswith(f"{path}/")) and not any(map(start.startswith, below))
        for start in _starts(regex.text[1:])
    )


def _starts(regex: str) -> tuple[str, ...]:
    """The texts with which matches begin, folded: every match begins with one of them."""
    if "|" in _outside_groups(regex):
        return ("",)
    starts: tuple[str, ...] = ("",)
    at = 1 if regex.startswith("^") else 0
    while (found := _LETTER.match(regex, at) or _CHOICE.match(regex, at)) is not None:
        choices = found[1].split("|") if found.re is _CHOICE else [found[0]]
        longer = tuple(start + _ESCAPED.sub(r"\1\2", choice) for start in starts for choice in choices)
        at = found.end()
        if regex[at : at + 1] in _MAY_BE_LEFT_OUT or len(longer) > _STARTS:
            break
        starts = longer
    return tuple(map(fold, starts))


def _outside_groups(regex: str) -> str:
    text = _CLASS.sub("", re.sub(r"\\.", "", regex))
    while (shorter := _GROUP.sub("", text)) != text:
        text = shorter
    return text
