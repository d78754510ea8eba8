"""Finds the first rule that matches a request, at a cost that does not grow with the number of rules.

Each condition is looked up once and gives a bit set: an `int` with bit i for rule i. The lowest bit of their
intersection is the first rule that matches. Keeps true: a rule without a condition has its bit in every
set of that condition, so a missing condition never excludes the rule. Regular expressions are tried only for rules
that could still be the first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import xor
from typing import Final

from gateway.facts import Address, Request
from gateway.policy.hosts import HostPattern
from gateway.policy.matcher import Matcher
from gateway.policy.networks import V4_END, V6_END, Interval, NetworkSet, number_of
from gateway.policy.uri import UriPattern

_NONE: Final = -1  # no rule matches


class RuleIndex:
    """Bit sets by address, host, path and method."""

    __slots__ = ("_hosts", "_matchers", "_methods", "_networks", "_paths")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._matchers = matchers
        self._networks = _Networks(matchers)
        self._hosts = _Hosts(matchers)
        self._paths = _Paths(matchers)
        self._methods = _Methods(matchers)

    def by_address(self, address: Address) -> int:
        """The rules for clients at this address."""
        return self._networks.at(address)

    def by_host(self, host: str) -> int:
        """The rules for this normalised host."""
        return self._hosts.at(host)

    def by_path(self, path: str) -> int:
        """The rules for this path, in its match form, without those that match it only by a regular expression."""
        return self._paths.at(path)

    def by_method(self, method: str) -> int:
        """The rules for this method."""
        return self._methods.at(method)

    def runs(self) -> Iterator[tuple[NetworkSet, int]]:
        """All addresses, grouped by the rules that are for them."""
        return self._networks.runs()

    def first(self, request: Request) -> int:
        """The number of the first rule that matches; -1 if no rule matches."""
        candidates = self._networks.at(request.address) & self._hosts.at(request.host)
        candidates &= self._methods.at(request.method)
        certain = candidates & self._paths.at(request.path)
        lowest = certain & -certain
        unasked = candidates & self._paths.with_regex & ~certain
        while unasked:
            bit = unasked & -unasked
            if lowest and bit > lowest:
                break
            number = bit.bit_length() - 1
            if self._matchers[number].is_for_path(request.path):
                return number
            unasked ^= bit
        return lowest.bit_length() - 1 if lowest else _NONE


class _Networks:
    """The rules for each range of addresses that all rules treat alike."""

    __slots__ = ("_v4", "_v6")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        everywhere = _bits(matchers, lambda matcher: matcher.networks is None)
        sets = [(number, matcher.networks) for number, matcher in enumerate(matchers) if matcher.networks is not None]
        self._v4 = _runs(everywhere, ((number, networks.v4) for number, networks in sets))
        self._v6 = _runs(everywhere, ((number, networks.v6) for number, networks in sets))

    def at(self, address: Address) -> int:
        is_v4, number = number_of(address)
        starts, sets = self._v4 if is_v4 else self._v6
        return sets[bisect_right(starts, number) - 1]

    def runs(self) -> Iterator[tuple[NetworkSet, int]]:
        (v4, v4_bits), (v6, v6_bits) = self._v4, self._v6
        for first, end, bits in zip(v4, (*v4[1:], V4_END), v4_bits, strict=True):
            yield NetworkSet.of(v4=((first, end),)), bits
        for first, end, bits in zip(v6, (*v6[1:], V6_END), v6_bits, strict=True):
            yield NetworkSet.of(v6=((first, end),)), bits


class _Hosts:
    __slots__ = ("_any", "_exact", "_wildcard")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._any = _bits(matchers, lambda matcher: matcher.hosts is None)
        self._exact: dict[str, int] = {}
        self._wildcard: dict[str, int] = {}
        for number, matcher in enumerate(matchers):
            for pattern in matcher.hosts or ():
                self._file(pattern, 1 << number)

    def at(self, host: str) -> int:
        return self._any | self._exact.get(host, 0) | self._wildcard.get(host.partition(".")[2], 0)

    def _file(self, pattern: HostPattern, bit: int) -> None:
        if pattern.kind == "any":
            self._any |= bit
        else:
            table = self._exact if pattern.kind == "exact" else self._wildcard
            table[pattern.name] = table.get(pattern.name, 0) | bit


class _Methods:
    __slots__ = ("_any", "_by_method")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._any = _bits(matchers, lambda matcher: matcher.methods is None)
        self._by_method: dict[str, int] = {}
        for number, matcher in enumerate(matchers):
            for method in matcher.methods or ():
                self._by_method[method] = self._by_method.get(method, 0) | 1 << number

    def at(self, method: str) -> int:
        return self._any | self._by_method.get(method.upper(), 0)


class _Node:
    """A node in the tree of path segments: the rules with a prefix that ends here or above."""

    __slots__ = ("bits", "children")

    def __init__(self) -> None:
        self.bits = 0
        self.children: dict[str, _Node] = {}


class _Paths:
    """Rules by exact path and by prefix. Rules with a regular expression are only noted in `with_regex`."""

    __slots__ = ("_any", "_depth", "_exact", "_root", "with_regex")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._any = _bits(matchers, lambda matcher: matcher.uris is None)
        self._exact: dict[str, int] = {}
        self._root = _Node()
        self._depth = 0  # segments of the longest prefix
        self.with_regex = 0
        for number, matcher in enumerate(matchers):
            for pattern in matcher.uris or ():
                self._file(pattern, 1 << number)
        _push_down(self._root)

    def at(self, path: str) -> int:
        """The rules that match by exact path or prefix. Rules with a regular expression may match too."""
        return self._any | self._exact.get(path, 0) | self._below_prefixes(path)

    def _below_prefixes(self, path: str) -> int:
        start, *segments = path.split("/", self._depth + 1)
        if start:
            return 0
        node = self._root
        for segment in segments:
            child = node.children.get(segment)
            if child is None:
                break
            node = child
        return node.bits

    def _file(self, pattern: UriPattern, bit: int) -> None:
        if pattern.kind == "exact":
            self._exact[pattern.folded] = self._exact.get(pattern.folded, 0) | bit
        elif pattern.kind == "regex":
            self.with_regex |= bit
        else:
            node = self._root
            segments = pattern.folded.split("/")[1:]
            self._depth = max(self._depth, len(segments))
            for segment in segments:
                node = node.children.setdefault(segment, _Node())
            node.bits |= bit


def _push_down(root: _Node) -> None:
    """Give each node the rules of the nodes above it, so that a look-up reads only one node."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        for child in node.children.values():
            child.bits |= node.bits
            waiting.append(child)


def _bits(matchers: Iterable[Matcher], has: Callable[[Matcher], bool]) -> int:
    return sum(1 << number for number, matcher in enumerate(matchers) if has(matcher))


def _runs(everywhere: int, sets: Iterable[tuple[int, tuple[Interval, ...]]]) -> tuple[list[int], list[int]]:
    """The first address of each range, and the rules that are for the range."""
    flips: dict[int, int] = {0: 0}
    for number, intervals in sets:
        for first, end in intervals:
            flips[first] = flips.get(first, 0) ^ 1 << number
            flips[end] = flips.get(end, 0) ^ 1 << number
    starts = sorted(flips)
    return starts, list(accumulate((flips[start] for start in starts), xor, initial=everywhere))[1:]
