"""Finds upstream servers that are the gateway itself: a request would come back again and again, up to its limits."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from gateway.config.addresses import Unreadable, is_loopback, parse_server
from gateway.config.model import Admin, Listener, Server
from gateway.config.problems import Place, Problems, quote
from gateway.config.reading import Value
from gateway.config.sites import SiteView
from gateway.policy.hosts import parse_host_pattern

_REMEDY: Final = "write the mail server's address"
_LOCALHOST: Final = ("127.0.0.1", "::1")


def check_loops(
    root: Value, listeners: Sequence[Listener], admin: Admin | None, sites: Sequence[SiteView], problems: Problems
) -> None:
    """Report servers whose address is one where the gateway listens."""
    patterns = [parse_host_pattern(host) for view in sites for host in view.hosts if host != "*"]
    for upstream in root.section("upstreams").data.values():
        for item in upstream.items("servers"):
            try:
                server = parse_server(str(item.data))
            except Unreadable:  # reported
                continue
            if _report(server, listeners, admin, item.place, problems):
                continue
            ports = {listener.public_port or listener.port for listener in listeners}
            if server.port in ports and any(pattern.matches(server.host) for pattern in patterns):
                cause = f"{quote(server.host)} is a host of this gateway, so its name may lead back to the gateway"
                problems.warning(item.place, cause, _REMEDY)


def _report(
    server: Server, listeners: Sequence[Listener], admin: Admin | None, place: Place, problems: Problems
) -> bool:
    for index, listener in enumerate(listeners):
        if _is_reached(listener.host, listener.port, server):
            cause = f"the gateway itself listens there (listen[{index}]), so every request would come back to it"
            problems.error(place, cause, _REMEDY)
            return True
    if admin is not None and _is_reached(admin.host, admin.port, server):
        problems.error(place, "the gateway itself serves status and metrics there (admin)", _REMEDY)
        return True
    return False


def _is_reached(host: str, port: int, server: Server) -> bool:
    """True if a connection to the server would end at this listen address."""
    if port != server.port:
        return False
    targets = _LOCALHOST if server.host == "localhost" else (server.host,)
    return any(_is_at(host, target) for target in targets)


def _is_at(host: str, target: str) -> bool:
    try:
        address = ip_address(target)
    except ValueError:  # a name
        return False
    if host and not ip_address(host).is_unspecified:
        return ip_address(host) == address
    is_of_kind = not host or ip_address(host).version == address.version
    return is_of_kind and (address.is_unspecified or is_loopback(target) or _is_own(target, address.version))


def _is_own(host: str, version: int) -> bool:
    """True for an address of this machine. Nothing is sent."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
