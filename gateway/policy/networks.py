"""Networks as sorted intervals of address numbers. A binary search finds whether an address is in one.

Keeps true: an IPv4-mapped IPv6 address, or a network of them, counts as IPv4; an IPv6 network never
contains an IPv4 address; every address is in either `internal` or `external`, never in both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from gateway.errors import PatternError
from gateway.facts import Address

Network = IPv4Network | IPv6Network
Interval = tuple[int, int]  # first number, number after the last
EXTERNAL: Final = "external"  # reserved: every address that is not in `internal`
INTERNAL: Final = "internal"

V4_END: Final = 1 << 32
V6_END: Final = 1 << 128
_MAPPED_PREFIX: Final = 0xFFFF  # ::ffff:0:0/96 (RFC 4291, 2.5.5.2), the number without its last 32 bits


class NetworkSet:
    """A set of addresses, IPv4 and IPv6 separately. `contains` takes the logarithm of the number of intervals."""

    __slots__ = ("v4", "v6")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        v4: list[Interval] = []
        v6: list[Interval] = []
        for network in networks:
            first, end = int(network.network_address), int(network.broadcast_address) + 1
            if isinstance(network, IPv4Network):
                v4.append((first, end))
            elif first >> 32 == _MAPPED_PREFIX and network.prefixlen >= 96:
                v4.append((first - (_MAPPED_PREFIX << 32), end - (_MAPPED_PREFIX << 32)))
            else:
                v6.append((first, end))
        self.v4: tuple[Interval, ...] = _merged(v4)
        self.v6: tuple[Interval, ...] = _merged(v6)

    @classmethod
    def of(cls, v4: tuple[Interval, ...] = (), v6: tuple[Interval, ...] = ()) -> NetworkSet:
        """The set of these intervals, which must be sorted and must not touch."""
        made = cls()
        made.v4, made.v6 = v4, v6
        return made

    def contains(self, address: Address) -> bool:
        """Whether the address is in one of the networks."""
        is_v4, number = number_of(address)
        intervals = self.v4 if is_v4 else self.v6
        index = bisect_right(intervals, number, key=_first) - 1
        return index >= 0 and number < intervals[index][1]

    def union(self, other: NetworkSet) -> NetworkSet:
        """The addresses that are in at least one of the two sets."""
        return NetworkSet.of(_merged([*self.v4, *other.v4]), _merged([*self.v6, *other.v6]))

    def complement(self) -> NetworkSet:
        """Every address that is not in this set."""
        return NetworkSet.of(_gaps(self.v4, V4_END), _gaps(self.v6, V6_END))

    def minus(self, other: NetworkSet) -> NetworkSet:
        """The addresses that are in this set and not in the other."""
        return self.complement().union(other).complement()

    def intersection(self, other: NetworkSet) -> NetworkSet:
        """The addresses that are in both sets."""
        return self.minus(other.complement())

    @property
    def counts(self) -> tuple[int, int]:
        """The number of addresses: IPv6, then IPv4."""
        return _size(self.v6), _size(self.v4)

    @property
    def only_one(self) -> Address | None:
        """The address, where it is one alone."""
        if sum(self.counts) != 1:
            return None
        return IPv4Address(self.v4[0][0]) if self.v4 else IPv6Address(self.v6[0][0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSet) and (self.v4, self.v6) == (other.v4, other.v6)

    def __hash__(self) -> int:
        return hash((self.v4, self.v6))


def number_of(address: Address) -> tuple[bool, int]:
    """Whether an address counts as IPv4, and its number."""
    number = int(address)
    if address.version == 4:
        return True, number
    if number >> 32 == _MAPPED_PREFIX:
        return True, number & (V4_END - 1)
    return False, number


def named(item: str, networks: Mapping[str, Sequence[Network]]) -> NetworkSet:
    """The addresses of one entry of a rule's `from`: a network's name, a CIDR or an address.

    Raises `PatternError` for anything else.
    """
    if item == EXTERNAL:
        return NetworkSet(networks.get(INTERNAL, ())).complement()
    if item in networks:
        return NetworkSet(networks[item])
    try:
        return NetworkSet([ip_network(item)])
    except ValueError as error:
        raise PatternError(
            f"{item!r} is neither a network's name nor an address: {error}", "write a name from networks, or a CIDR"
        ) from error


def _first(interval: Interval) -> int:
    return interval[0]


def _size(intervals: tuple[Interval, ...]) -> int:
    return sum(end - first for first, end in intervals)


def _merged(intervals: list[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for first, end in sorted(intervals):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return tuple(merged)


def _gaps(intervals: tuple[Interval, ...], limit: int) -> tuple[Interval, ...]:
    gaps: list[Interval] = []
    start = 0
    for first, end in intervals:
        if start < first:
            gaps.append((start, first))
        start = end
    if start < limit:
        gaps.append((start, limit))
    return tuple(gaps)
