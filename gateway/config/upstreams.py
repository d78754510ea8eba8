"""Reads the `upstreams` section as frozen `Upstream`s."""

from __future__ import annotations

from typing import Any

from gateway.config.addresses import Unreadable, parse_name_server, parse_server, parse_server_host
from gateway.config.certificates import Material
from gateway.config.model import Health, NameServer, Server, Timeouts, Upstream, UpstreamTls
from gateway.config.problems import Problems, quote
from gateway.config.reading import Value

_HEALTH = {
    "path": "path",
    "interval": "interval_seconds",
    "timeout": "timeout_seconds",
    "rise": "rise",
    "fall": "fall",
}
_UNUSUAL = {("http", 443): "https", ("https", 80): "http"}
# A webmail server's other ports, at which nothing speaks HTTP.
_OTHER_PROTOCOLS = {
    25: "SMTP",
    465: "SMTP",
    587: "SMTP",
    110: "POP3",
    995: "POP3",
    143: "IMAP",
    993: "IMAP",
    4190: "Sieve",
}
_TIMEOUTS = {"connect": "connect_seconds", "response": "response_seconds", "idle": "idle_seconds"}


def given(section: Value, names: dict[str, str]) -> dict[str, Any]:
    """The section's values under the model's names. Keys that are left out get the model's defaults."""
    return {field: section.data[key].data for key, field in names.items() if key in section.data}


def build_upstreams(section: Value, material: Material, problems: Problems) -> tuple[Upstream, ...]:
    """Every upstream with at least one valid server; errors are reported."""
    built = (_upstream(name, value, material, problems) for name, value in section.data.items())
    return tuple(upstream for upstream in built if upstream is not None)


def build_name_servers(section: Value, problems: Problems) -> tuple[NameServer, ...]:
    """The DNS servers of the `resolver` section; empty: those of the system."""
    found: list[NameServer] = []
    for item in section.items("servers"):
        try:
            server = parse_name_server(str(item.data))
        except Unreadable as error:
            problems.error(item.place, error.cause, error.remedy)
            continue
        if server in found:
            problems.error(item.place, f"{quote(str(item.data))} is listed twice", "remove one")
        found.append(server)
    return tuple(found)


def _upstream(name: str, value: Value, material: Material, problems: Problems) -> Upstream | None:
    servers = _servers(value, problems)
    health = value.get("health")
    names = ("balance", "host", "connections", "rewrite_location", "proxy_protocol")
    tls = _tls(value.section("tls"), material, problems)
    if value.get("tls") is not None and servers and all(server.scheme == "http" for server in servers):
        problems.warning(
            value.at("tls"), "tls has no effect, because no server has an https:// URL", "remove tls, or write https://"
        )
    if not servers:
        return None
    return Upstream(
        name=name,
        servers=servers,
        tls=tls,
        health=None if health is None else Health(**given(health, _HEALTH)),
        timeouts=Timeouts(**given(value.section("timeouts"), _TIMEOUTS)),
        line=value.place.mark.line,
        **given(value, {name: name for name in names}),
    )


def _servers(value: Value, problems: Problems) -> tuple[Server, ...]:
    found: list[Server] = []
    for item in value.items("servers"):
        try:
            server = parse_server(str(item.data))
        except Unreadable as error:
            problems.error(item.place, error.cause, error.remedy)
            continue
        if server in found:
            problems.error(item.place, f"{server.url} is listed twice", "remove one")
        _check_port(item, server, problems)
        found.append(server)
    return tuple(found)


def _check_port(item: Value, server: Server, problems: Problems) -> None:
    """Warn of a port at which another protocol is spoken."""
    host, port = server.authority.rpartition(":")[0], server.port
    if (other := _UNUSUAL.get((server.scheme, port))) is not None:
        cause = f"port {port} is for {other}, not for {server.scheme}"
        problems.warning(item.place, cause, f"write {other}://{host}:{port}")
    elif (protocol := _OTHER_PROTOCOLS.get(port)) is not None:
        cause = f"port {port} is for {protocol}, and the gateway speaks HTTP with this server"
        problems.warning(item.place, cause, f"name the port of its webmail, such as https://{host}:443")


def _tls(section: Value, material: Material, problems: Problems) -> UpstreamTls:
    ca, certificate, key = section.get("ca"), section.get("certificate"), section.get("key")
    verify = bool(section.plain("verify", True))
    authorities = None if ca is None else material.certificates(ca)
    shown, secret = None, None
    if certificate is not None:
        shown, secret = material.identity(certificate, key, None, may_be_encrypted=False)
    if "key" not in section.keys and certificate is not None:
        problems.error(certificate.place, "certificate is set without key", "add key")
    if "certificate" not in section.keys and key is not None:
        problems.error(key.place, "key is set without certificate", "add certificate")
    if not verify:
        cause = "without verification an attacker in between can pose as the server"
        problems.warning(section.at("verify"), cause, "write the CA of its certificate in ca, and remove verify: false")
    return UpstreamTls(
        ca=authorities,
        server_name=_server_name(section, problems),
        certificate=shown,
        key=secret,
        verify=verify,
    )


def _server_name(section: Value, problems: Problems) -> str | None:
    value = section.get("server_name")
    if value is None:
        return None
    try:
        return parse_server_host(str(value.data))
    except Unreadable as error:
        problems.error(value.place, error.cause, error.remedy)
        return None
