"""Finds out whether the gateway runs in a container, and from which shared addresses clients may arrive there.

A container's engine may pass on connections from its own address: Docker's proxy and rootless engines use the
container's default gateway, and rootless Podman with slirp4netns uses the container's own address. Then clients from
the Internet look as if they came from inside.

Keeps true: in a container, these addresses are not in `internal` unless the file lists exactly them.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final

from gateway.config.addresses import Unreadable, parse_network
from gateway.config.model import Config, Network
from gateway.config.problems import START, Place, Problem, Problems, listing, quote
from gateway.config.reading import Value
from gateway.facts import Action, Address

# Docker, Podman and systemd-nspawn create these.
_MARKERS: Final = (".dockerenv", "run/.containerenv", "run/systemd/container")
# systemd-nspawn, LXC and Podman set the first, Kubernetes the second.
_VARIABLES: Final = ("container", "KUBERNETES_SERVICE_HOST")
# Matches a control group of Docker, Podman, containerd, CRI-O, Kubernetes or LXC.
_CONTROL_GROUP: Final = re.compile(
    r"^[0-9]+:[^:\n]*:(?:.*/)?(?:(?:docker|libpod|cri-containerd|crio)[-/]|kubepods[-./]|lxc(?:/|\.payload))",
    re.MULTILINE,
)
# Windows Subsystem for Linux. Its NAT and `netsh interface portproxy` do the same as a container's engine.
_WSL: Final = "microsoft"
_ROUTE_FLAGS: Final = 0x3  # RTF_UP and RTF_GATEWAY, linux/route.h
_NO_ADDRESS_V4: Final = "00000000"
_NO_ADDRESS_V6: Final = "0" * 32
# Addresses for documentation (RFC 5737, RFC 3849). Nothing is sent there; the kernel only chooses our own address.
_SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The addresses from which clients may arrive whose connections the container's engine passes on."""

    gateways: tuple[Address, ...] = ()
    own: tuple[Address, ...] = ()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.gateways, *self.own)))


def arrivals(root: Path = Path("/"), environ: Mapping[str, str] | None = None) -> Arrivals:
    """The shared addresses of this process; empty outside a container. Tests pass `root` and `environ`."""
    if not (is_here() if environ is None else is_container(root, environ)):
        return Arrivals()
    return Arrivals(tuple(_gateways(root)), tuple(_own_addresses()))


@cache
def is_here() -> bool:
    """Whether this process seems to be in a container or in WSL."""
    # Computed once, in the master: its workers are forked from it, and have only a part of its environment.
    return is_container(Path("/"), os.environ)


def is_container(root: Path, environ: Mapping[str, str]) -> bool:
    """Whether this looks like a container or like WSL. A container without any of these signs is not recognised."""
    if any(os.path.lexists(root / marker) for marker in _MARKERS) or any(map(environ.get, _VARIABLES)):
        return True
    if _WSL in _text(root / "proc/sys/kernel/osrelease").lower():
        return True
    return any(_CONTROL_GROUP.search(_text(root / "proc" / of / "cgroup")) for of in ("self", "1"))


def without(
    networks: Iterable[Network], addresses: Iterable[Address]
) -> tuple[tuple[Network, ...], tuple[Address, ...]]:
    """The networks without these addresses, and the addresses that were taken out.

    An address that is listed by itself stays.
    """
    left = tuple(networks)
    taken: list[Address] = []
    for address in addresses:
        if not any(address in network for network in left) or is_listed(address, left):
            continue
        left = tuple(part for network in left for part in _without_one(network, address))
        taken.append(address)
    return left, tuple(taken)


def is_listed(address: Address, networks: Iterable[Network]) -> bool:
    """Whether the address is listed by itself, and not only as part of a network."""
    return any(network.prefixlen == network.max_prefixlen and address in network for network in networks)


def note_of(config: Config) -> Problem | None:
    """The line for `gateway check` and the log about addresses that don't count as inside; None if there are none."""
    if not config.not_inside:
        return None
    place = Place(START, "networks.internal")
    what = listing(map(str, config.not_inside), "and")
    entries = listing((f"{address}/{address.max_prefixlen}" for address in config.not_inside), "and")
    cause = (
        f"this is a container or WSL, where clients from outside may arrive from {what} (its own network), so this "
        "does not count as inside"
    )
    remedy = (
        f"use the host's network, or list {entries} in networks.internal if only clients from inside arrive from there"
    )
    return Problem(str(config.path), place, cause, remedy, is_note=True)


def warn_of_trust(
    root: Value, resolved: Mapping[str, tuple[Network, ...]], known: Arrivals, problems: Problems
) -> None:
    """Warn if such an address is let in without a certificate, or may name a client.

    They are removed only from `internal`. Other networks count as they are written.
    """
    for rule in root.items("rules"):
        if rule.plain("action", None) == Action.ALLOW.value:
            for item in rule.items("from"):
                networks = resolved.get(str(item.data)) or _network(item)
                remedy = "write internal, or networks without this address"
                _warn(item, networks, known, problems, "need no certificate here", remedy)
    listeners = [item for listener in root.items("listen") for item in listener.items("proxy_protocol_from")]
    for item in (*root.section("trusted_proxies").items("from"), *listeners):
        _warn(item, _network(item), known, problems, "may name any client", "list the proxies' own addresses")


def _warn(
    item: Value, networks: tuple[Network, ...], known: Arrivals, problems: Problems, effect: str, remedy: str
) -> None:
    for address in known.addresses:
        # 0.0.0.0/0 means everyone on purpose.
        holders = [network for network in networks if network.prefixlen and address in network]
        if holders and not is_listed(address, holders):
            cause = f"in this container clients from outside may arrive from {address}, and {quote(str(item.data))}"
            problems.warning(item.place, f"{cause} contains it: such clients {effect}", remedy)


def _network(item: Value) -> tuple[Network, ...]:
    try:
        return (parse_network(str(item.data)),)
    except Unreadable:  # a network's name, or reported elsewhere
        return ()


def _without_one(network: Network, address: Address) -> Iterator[Network]:
    if address not in network:
        yield network
    elif isinstance(network, IPv4Network) and isinstance(address, IPv4Address):
        yield from network.address_exclude(IPv4Network(address))
    elif isinstance(network, IPv6Network) and isinstance(address, IPv6Address):
        yield from network.address_exclude(IPv6Network(address))


def _gateways(root: Path) -> Iterator[Address]:
    """The gateways of the default routes, from /proc/net/route and /proc/net/ipv6_route (hexadecimal numbers)."""
    for line in _text(root / "proc/net/route").splitlines()[1:]:
        _, target, gateway, flags, *_, mask = line.split()[:8]
        if (target, mask) == (_NO_ADDRESS_V4, _NO_ADDRESS_V4) and _is_by_gateway(flags):
            yield IPv4Address(int.from_bytes(bytes.fromhex(gateway), sys.byteorder))
    for line in _text(root / "proc/net/ipv6_route").splitlines():
        target, prefix, _, _, gateway, _, _, _, flags, *_ = line.split()
        if (target, prefix) == (_NO_ADDRESS_V6, "00") and _is_by_gateway(flags):
            yield IPv6Address(bytes.fromhex(gateway))


def _is_by_gateway(flags: str) -> bool:
    return int(flags, 16) & _ROUTE_FLAGS == _ROUTE_FLAGS


def _own_addresses() -> Iterator[Address]:
    """The addresses that this container uses for connections to other networks."""
    for family, target in _SOMEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((target, 9))
            yield ip_address(asked.getsockname()[0].partition("%")[0])


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
