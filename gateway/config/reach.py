"""The requests that a rule matches, and whether an earlier rule matches all of them.

The answer is sound but not complete: a rule that is called covered is covered. A rule that only several earlier rules
together cover is not found (a last `deny` after `internal` and `external` is not a mistake).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Final

from gateway.policy.hosts import HostPattern, suffix_of
from gateway.policy.networks import NetworkSet
from gateway.policy.uri import EVERY_PATH_REGEXES, UriPattern

_EVERY_HOST: Final = HostPattern("any", "")


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """The requests that one rule matches; None stands for "every"."""

    networks: NetworkSet | None
    hosts: tuple[HostPattern, ...] | None
    uris: tuple[UriPattern, ...] | None
    methods: frozenset[str] | None

    def covers(self, other: Reach) -> bool:
        """True only if this rule matches every request of `other`."""
        return (
            _methods_cover(self.methods, other.methods)
            and _hosts_cover(self.hosts, other.hosts)
            and _uris_cover(self.uris, other.uris)
            and _networks_cover(self.networks, other.networks)
        )

    def on_site(self, hosts: tuple[HostPattern, ...], others: tuple[HostPattern, ...] = ()) -> Reach | None:
        """The part of these requests that is for a site's hosts; None if there are no such requests.

        `others`: the hosts of all other sites, which may have a more specific pattern for some of them.
        """
        if self.hosts is None:
            return replace(self, hosts=hosts)
        shared = [
            narrower(own, host)
            for own in self.hosts
            for host in hosts
            if own.meets(host) and host.keeps(narrower(own, host), others)
        ]
        return replace(self, hosts=tuple(shared)) if shared else None


class Earlier:
    """The rules so far, indexed so that only rules that could cover a later rule are compared."""

    def __init__(self) -> None:
        self._reaches: list[Reach] = []
        self._by_host: defaultdict[HostPattern, list[int]] = defaultdict(list)
        self._by_path: defaultdict[str, list[int]] = defaultdict(list)
        self._regexes: list[int] = []

    def add(self, reach: Reach) -> None:
        """Add the next rule."""
        index = len(self._reaches)
        self._reaches.append(reach)
        for host in set(reach.hosts or (_EVERY_HOST,)):
            self._by_host[host].append(index)
        for path in {pattern.folded for pattern in reach.uris or () if pattern.kind != "regex"}:
            self._by_path[path].append(index)
        if reach.uris is None:
            self._by_path[""].append(index)
        elif any(pattern.kind == "regex" for pattern in reach.uris):
            self._regexes.append(index)

    def covering(self, reach: Reach) -> int | None:
        """The number of the first rule that matches every request of `reach`; None if no rule does."""
        by_host, by_path = self._with_host(reach), self._with_path(reach)
        candidates = by_host if len(by_host) < len(by_path) else by_path
        return min((index for index in candidates if self._reaches[index].covers(reach)), default=None)

    def _with_host(self, reach: Reach) -> list[int]:
        first = reach.hosts[0] if reach.hosts else _EVERY_HOST
        keys = {first, _EVERY_HOST}
        if first.kind == "exact" and (suffix := suffix_of(first.name)) is not None:
            keys.add(HostPattern("wildcard", suffix))
        return [index for key in keys if key in self._by_host for index in self._by_host[key]]

    def _with_path(self, reach: Reach) -> list[int]:
        path = reach.uris[0].folded if reach.uris else ""
        segments = path.split("/")
        keys = {"/".join(segments[:count]) for count in range(1, len(segments) + 1)}
        return [*self._regexes, *(index for key in keys if key in self._by_path for index in self._by_path[key])]


def narrower(one: HostPattern, other: HostPattern) -> HostPattern:
    """The narrower one of two patterns that share hosts."""
    return other if one.covers(other) else one


def _methods_cover(mine: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return mine is None or (other is not None and other <= mine)


def _hosts_cover(mine: tuple[HostPattern, ...] | None, other: tuple[HostPattern, ...] | None) -> bool:
    if mine is None:
        return True
    return all(any(own.covers(host) for own in mine) for host in other or (_EVERY_HOST,))


def _uris_cover(mine: tuple[UriPattern, ...] | None, other: tuple[UriPattern, ...] | None) -> bool:
    if mine is None:
        return True
    if other is None:
        return any(_is_every_path(own) for own in mine)
    return all(any(_uri_covers(own, pattern) for own in mine) for pattern in other)


def _uri_covers(mine: UriPattern, other: UriPattern) -> bool:
    if _is_every_path(mine):
        return True
    match mine.kind, other.kind:
        case ("prefix", "prefix") | (_, "exact"):
            return mine.matches(other.folded)
        case ("regex", "regex"):
            return mine.text == other.text
        case _:
            return False


def _is_every_path(pattern: UriPattern) -> bool:
    return (pattern.kind == "prefix" and not pattern.folded) or pattern.text in EVERY_PATH_REGEXES


def _networks_cover(mine: NetworkSet | None, other: NetworkSet | None) -> bool:
    if mine is None:
        return True
    if other is None:
        other = NetworkSet().complement()
    both = mine.union(other)
    return both.v4 == mine.v4 and both.v6 == mine.v6
