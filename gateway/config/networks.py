"""Resolves the `networks` section: every name becomes a tuple of CIDRs. Names may contain names; loops are refused."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Final

from gateway.config.addresses import Unreadable, looks_like_network, parse_network
from gateway.config.container import without
from gateway.config.model import Network
from gateway.config.problems import Problems, did_you_mean, listing, quote
from gateway.config.reading import Value
from gateway.facts import Address
from gateway.policy.networks import NetworkSet

EXTERNAL: Final = "external"
INTERNAL: Final = "internal"
_ALL_FRACTION: Final = 0.999  # some single addresses are never inside in a container
_EVERYBODY: Final = frozenset({"all", "any", "anyone", "anywhere", "everybody", "everyone", "everywhere", "*"})
# In a file. `gateway init` has its own, since there is no file yet.
FOR_TOO_MANY_INSIDE: Final = (
    "list your own networks, or write allow_everyone_inside: true at the top of the file if you mean that"
)
_FOR_ALL: Final = ("write 0.0.0.0/0", "write ::/0")  # in a list that decides trust, the next check would refuse them
_NEGATED: Final = re.compile(r"(?:[!^~-]|not\b)\s*(\S+)", re.IGNORECASE)
_PUBLIC_V6: Final = (0x2 << 124, 0x4 << 124)  # 2000::/3 (RFC 4291 section 2.4): every public IPv6 address

# Loopback, RFC 1918, link-local (RFC 3927, RFC 4291) and unique local addresses (RFC 4193).
DEFAULT_INTERNAL: Final[tuple[Network, ...]] = tuple(
    ip_network(cidr)
    for cidr in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)


class Networks:
    """The named networks of a file. Names with an error in their definition are not in `resolved`.

    `arriving`: addresses of this container. They are in `internal` only if the file lists them one by one;
    `not_inside` has the others.
    """

    def __init__(self, section: Value, problems: Problems, arriving: tuple[Address, ...] = ()) -> None:
        self._section = section
        self._problems = problems
        self._open: list[str] = []  # the names being resolved, outermost first
        self._arriving = arriving
        default, self.not_inside = without(DEFAULT_INTERNAL, arriving)
        self.resolved: dict[str, tuple[Network, ...]] = {INTERNAL: default}
        self._faulty = {name for name in section.keys if name not in section.data} | {EXTERNAL}
        if EXTERNAL in section.keys:
            problems.error(
                section.keys[EXTERNAL],
                "'external' is reserved for the addresses that are not in internal",
                "define internal instead",
            )
        if INTERNAL in section.keys:
            del self.resolved[INTERNAL]
            self.not_inside = ()
        for name in section.data:
            self._resolve(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a rule may use, including names with errors, which are already reported."""
        return tuple(dict.fromkeys((INTERNAL, EXTERNAL, *self._section.keys)))

    def parse(self, value: Value) -> str | Network | None:
        """A rule's `from` entry: a known name or a CIDR; None (and an error) for anything else."""
        text = str(value.data)
        if text in self.names:
            return text
        if (found := _NEGATED.fullmatch(text)) is not None and looks_like_network(found[1]):
            self._problems.error(value.place, f"{quote(text)}: networks can't be negated", self._without(found[1]))
            return None
        if looks_like_network(text) or text.lower() == "localhost":
            return read_network(value, self._problems)
        if text.lower() in _EVERYBODY:
            remedy = (
                "remove the key from: a rule without it is for every address"
                if not self._open
                else "list your own networks"
            )
            self._problems.error(value.place, f"{quote(text)} is not the name of a network", remedy)
            return None
        if (found := _NEGATED.fullmatch(text)) is not None and found[1] in self.names:
            self._problems.error(value.place, f"{quote(text)}: networks can't be negated", self._without(found[1]))
            return None
        known = [name for name in self.names if not self._open or name not in {EXTERNAL, *self._open}]
        otherwise = f"write {listing(['a CIDR', *known])}" if known else "write a CIDR such as 10.0.0.0/8"
        self._problems.error(
            value.place, f"{quote(text)} is not the name of a network", did_you_mean(text, known, otherwise)
        )
        return None

    def _without(self, name: str) -> str:
        """The remedy for a negated network: what to write for all clients outside it."""
        if self._open:
            return "list the networks that it consists of"
        rest = {INTERNAL: EXTERNAL, EXTERNAL: INTERNAL}.get(name)
        if rest is not None:
            return f"write {rest}"
        return f"remove it, and write a rule with from: {name} above this rule"

    def _resolve(self, name: str) -> tuple[Network, ...]:
        if name in self.resolved or name in self._faulty:
            return self.resolved.get(name, ())
        self._open.append(name)
        found: list[Network] = []
        for item in self._section.items(name):
            found += self._members(item)
        self._open.pop()
        if name not in self._faulty:
            self.resolved[name] = self._usable(name, tuple(dict.fromkeys(found)))
        return self.resolved.get(name, ())

    def _usable(self, name: str, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        if name == INTERNAL:
            networks, self.not_inside = without(networks, self._arriving)
        return networks

    def _members(self, item: Value) -> tuple[Network, ...]:
        parsed = self.parse(item)
        if parsed is None:
            self._faulty.update(self._open)
            return ()
        if not isinstance(parsed, str):
            return (parsed,)
        if parsed == EXTERNAL:
            self._problems.error(
                item.place, "'external' cannot be part of a network", "write it in a rule's from instead"
            )
            self._faulty.update(self._open)
        elif parsed in self._open:
            loop = " → ".join([*self._open[self._open.index(parsed) :], parsed])
            self._problems.error(item.place, f"the network contains itself: {loop}", "write its CIDRs here")
            self._faulty.update(self._open)
        return self._resolve(parsed) if parsed not in self._open else ()


def check_inside(root: Value, networks: Networks, problems: Problems) -> None:
    """Report networks that contain most addresses of the Internet: clients from everywhere would count as inside."""
    if root.plain("allow_everyone_inside", False):
        return
    for name, place in root.section("networks").keys.items():
        whom = mostly(NetworkSet(networks.resolved.get(name, ())))
        if whom is None:
            continue
        if name == INTERNAL:
            cause = f"{whom} count as inside, and a rule for inside lets them in without a certificate"
            problems.error(place, cause, FOR_TOO_MANY_INSIDE)
        else:
            problems.warning(place, f"{whom} are in this network", FOR_TOO_MANY_INSIDE)


def mostly(found: NetworkSet) -> str | None:
    """Which clients a network contains, in words, if these are at least half of all; otherwise None."""
    v4 = sum(end - first for first, end in found.v4)
    first_public, end_public = _PUBLIC_V6
    v6 = sum(max(0, min(end, end_public) - max(first, first_public)) for first, end in found.v6)
    for count, every, version in ((v4, 2**32, "IPv4"), (v6, end_public - first_public, "IPv6")):
        if count * 2 >= every:
            return (
                f"all {version} clients" if count > every * _ALL_FRACTION else f"at least half of all {version} clients"
            )
    return None


def read_network(value: Value, problems: Problems) -> Network | None:
    """The network of a CIDR; None (and an error) if it is not one."""
    try:
        return parse_network(str(value.data))
    except Unreadable as error:
        is_for_all = error.remedy.startswith(_FOR_ALL) and not value.place.shape.startswith("rules")
        remedy = "list your own networks, such as 10.0.4.0/24" if is_for_all else error.remedy
        problems.error(value.place, error.cause, remedy)
        return None
