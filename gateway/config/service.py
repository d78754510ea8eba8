"""Reads the sections about the service itself: listeners, limits, headers, logs, pages, workers, status."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote as for_shell
from typing import Final

from gateway import access
from gateway.config.addresses import Unreadable, clash, is_loopback, parse_listen
from gateway.config.log_target import read_log_target
from gateway.config.model import (
    AccessLog,
    Admin,
    IdentityHeaders,
    Limits,
    Listener,
    Lockout,
    Network,
    Pages,
    Rotation,
    SyslogServer,
)
from gateway.config.networks import mostly, read_network
from gateway.config.problems import Problems, quote
from gateway.config.reading import Value
from gateway.config.upstreams import given
from gateway.config.yaml_text import as_quoted, as_yaml
from gateway.policy.networks import NetworkSet

PERMANENT_REDIRECT: Final = 308
_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443
_CHALLENGES: Final = (".well-known", "acme-challenge")  # below the folder that ACME clients call webroot
_LIMITS: Final = {
    "header_bytes": "header_bytes",
    "headers": "headers",
    "uri_bytes": "uri_bytes",
    "body": "body_bytes",
    "connections": "connections",
    "connections_per_ip": "connections_per_ip",
    "handshakes_per_second_per_ip": "handshakes_per_second_per_ip",
    "requests_per_second_per_ip": "requests_per_second_per_ip",
    "handshake": "handshake_seconds",
    "header_time": "header_time_seconds",
    "keepalive": "keepalive_seconds",
    "transfer_idle": "transfer_idle_seconds",
    "body_bytes_per_second": "body_bytes_per_second",
}
_LOCKOUT: Final = {"failures": "failures", "window": "window_seconds", "ban": "ban_seconds"}
_ROTATION: Final = {"size": "size_bytes", "age": "age_seconds", "keep": "keep", "compress": "compress"}
_HEADERS: Final = ("subject", "email", "serial", "fingerprint", "verified")
# Headers that already have a meaning between client, gateway and upstream. Identity headers must have other names.
_TAKEN_HEADERS: Final = frozenset(
    {
        *("accept", "authorization", "client-cert", "client-cert-chain", "connection", "content-encoding"),
        *("content-length", "content-type", "cookie", "date", "expect", "forwarded", "host", "keep-alive"),
        *("proxy-authorization", "proxy-connection", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade"),
        *("user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
        *("x-gateway-reason", "x-request-id"),
    }
)


def build_listeners(root: Value, folder: Path, problems: Problems) -> tuple[Listener, ...]:
    """Every listener. Two listeners with the same address are an error. Paths are relative to `folder`."""
    found: list[Listener] = []
    for value in root.items("listen"):
        address = value.get("address")
        parsed = None if address is None else _listen(address, problems)
        if parsed is None or address is None:
            continue
        for other in found:
            if clash(parsed, (other.host, other.port)):
                cause = f"{quote(str(address.data))} and {quote(other.address)} are the same address"
                problems.error(address.place, cause, "remove one of the two")
                break
        host, port = parsed
        peers = read_peers(value, "proxy_protocol_from", "balancers", problems)
        redirect = bool(value.plain("redirect_to_https", False))
        is_publishing = bool(value.plain("pki", False))
        if is_publishing and _is_missing(root, "pki"):
            remedy = "add a pki section with store, or remove this key"
            problems.error(value.at("pki"), "the file has no pki section, so there is nothing to publish", remedy)
        public_port = value.plain("public_port", None)
        if public_port is not None and (redirect or is_publishing):
            cause = "public_port is for listeners that serve sites, and this one speaks plain HTTP"
            problems.error(value.at("public_port"), cause, "remove it")
        _check_port(address, port, problems, is_plain=redirect or is_publishing, is_public=public_port is None)
        status = int(value.plain("redirect_status", PERMANENT_REDIRECT))
        if status != PERMANENT_REDIRECT and not redirect:
            cause = "redirect_status is for listeners with redirect_to_https"
            problems.error(value.at("redirect_status"), cause, "add redirect_to_https: true, or remove it")
        webroot = _webroot(value, folder, problems, is_plain=redirect or is_publishing)
        found.append(
            Listener(str(address.data), host, port, redirect, peers, is_publishing, public_port, webroot, status)
        )
    listen = root.get("listen")
    if found and listen is not None and all(listener.redirect_to_https or listener.pki for listener in found):
        cause = "every listener only redirects" + (" or publishes" if any(each.pki for each in found) else "")
        problems.warning(listen.place, cause, "add a listener without redirect_to_https and pki")
    return tuple(found)


def _check_port(address: Value, port: int, problems: Problems, *, is_plain: bool, is_public: bool) -> None:
    """Warn of the port at which browsers expect the other protocol; `is_public`: no other one is named for outside."""
    if port == _HTTPS_PORT and is_plain:
        cause = "browsers speak TLS at port 443, and this listener speaks plain HTTP"
        problems.warning(address.place, cause, f"write {as_quoted(str(address.data).removesuffix('443') + '80')}")
    elif port == _HTTP_PORT and not is_plain and is_public:
        cause = "browsers speak plain HTTP at port 80, and this listener speaks TLS"
        remedy = f"add redirect_to_https: true, or write {as_quoted(str(address.data).removesuffix('80') + '443')}"
        problems.warning(address.place, cause, remedy)


def _webroot(listener: Value, folder: Path, problems: Problems, *, is_plain: bool) -> Path | None:
    """The folder in which an ACME client puts its challenges; None if the listener has none."""
    value = listener.get("acme_webroot")
    if value is None:
        return None
    webroot = folder / str(value.data)
    if not is_plain:
        cause = "acme_webroot is for listeners that speak plain HTTP"
        problems.error(value.place, cause, "add redirect_to_https: true to this listener")
    elif webroot.parts[-2:] == _CHALLENGES:
        cause = f"the gateway looks for challenges in {'/'.join(_CHALLENGES)} below this folder"
        problems.warning(
            value.place, cause, f"write {as_yaml(str(webroot.parents[1]))}, the same folder as in certbot's -w"
        )
    elif not _is_folder(webroot):
        cause = f"{quote(str(webroot))} is not a folder, so no challenge can be answered"
        problems.warning(value.place, cause, f"create it: mkdir -p {for_shell(str(webroot))}")
    elif not os.access(webroot, os.X_OK):
        cause = f"the gateway can't enter {quote(str(webroot))}, so no challenge can be answered"
        problems.warning(value.place, cause, access.to_read(webroot / "x"))
    return webroot


def read_networks(value: Value, key: str, problems: Problems) -> tuple[Network, ...]:
    """The networks of a list key; wrong entries are reported and left out."""
    found = (read_network(item, problems) for item in value.items(key))
    return tuple(network for network in found if network is not None)


def read_peers(value: Value, key: str, what: str, problems: Problems) -> tuple[Network, ...]:
    """The CIDRs of the machines that may name a client. A list that has most of the Internet is an error."""
    peers = read_networks(value, key, problems)
    if (whom := mostly(NetworkSet(peers))) is not None:
        cause = f"{whom} could claim any address as their own, even one inside"
        remedy = f"list the {what}' own addresses, or the subnet that only they are in, such as 10.0.4.0/24"
        problems.error(value.at(key), cause, remedy)
    return peers


def build_limits(root: Value, problems: Problems) -> Limits:
    """The limits; those that are left out have their defaults."""
    section = root.section("limits")
    limits = Limits(**given(section, _LIMITS))
    if limits.connections_per_ip > limits.connections and "connections_per_ip" in section.data:
        cause = "connections_per_ip is above connections"
        problems.warning(section.at("connections_per_ip"), cause, "lower it, or raise connections")
    return limits


def build_identity_headers(root: Value, problems: Problems) -> IdentityHeaders:
    """The header names. A name that is used twice, or that HTTP uses, is an error."""
    section = root.section("identity_headers")
    headers = IdentityHeaders(**given(section, {name: name for name in ("rfc9440", *_HEADERS)}))
    seen: dict[str, str] = {}
    for name in _HEADERS:
        header: str | None = getattr(headers, name)
        if header is None:
            continue
        if header.lower() in _TAKEN_HEADERS:
            cause = f"{quote(header)} already has another meaning"
            problems.error(section.at(name), cause, "write a name such as X-Client-Name")
        if (other := seen.setdefault(header.lower(), name)) != name:
            problems.error(section.at(name), f"{quote(header)} is already the header for {other}", "write another name")
    return headers


def build_lockout(root: Value) -> Lockout | None:
    """The settings of the lockout; None if it is off."""
    section = root.get("lockout")
    if section is None:
        return None
    count = tuple(item.data for item in section.items("count")) or Lockout().count
    return Lockout(count=count, **given(section, _LOCKOUT))


def build_access_log(root: Value, folder: Path, problems: Problems) -> AccessLog:
    """The access log. Its folder need not exist yet, but it must be possible to create it."""
    section = root.section("access_log")
    value, rotate = section.get("path"), section.get("rotate")
    target = read_log_target(section, folder, problems)
    path = target if isinstance(target, Path) else None
    if path is not None and value is not None and (found := _unwritable(path)) is not None:
        problems.error(value.place, *found)
    elif path is not None and rotate is not None and (found := _unrotatable(path)) is not None:
        problems.error(rotate.place, *found)
    return AccessLog(
        path=path,
        syslog=target if isinstance(target, SyslogServer) else None,
        is_journald=target == "journald",
        rotate=None if rotate is None else Rotation(**given(rotate, _ROTATION)),
        **given(section, {"format": "format"}),
    )


def build_pages(root: Value, folder: Path, problems: Problems) -> Pages:
    """The refusal pages' settings."""
    section = root.section("pages")
    value = section.get("directory")
    directory = None if value is None else folder / str(value.data)
    if directory is not None and value is not None and not _is_folder(directory):
        problems.error(value.place, f"{quote(str(directory))} is not a folder", "create it, or correct the name")
    return Pages(contact=section.plain("contact", None), directory=directory)


def build_admin(root: Value, listeners: tuple[Listener, ...], problems: Problems) -> Admin | None:
    """The listener for status and metrics; None if there is none."""
    address = root.section("admin").get("address")
    parsed = None if address is None else _listen(address, problems)
    if address is None or parsed is None:
        return None
    if any(clash(parsed, (listener.host, listener.port)) for listener in listeners):
        problems.error(
            address.place, f"{quote(str(address.data))} is already an address in listen", "write another port"
        )
    if not is_loopback(parsed[0]):
        cause = "anybody who can reach this address can read status and metrics without a password"
        problems.warning(address.place, cause, 'write "127.0.0.1:9444", and use SSH or a VPN to reach it')
    return Admin(str(address.data), *parsed)


def worker_count(root: Value) -> int:
    """Processes to start; `auto` is one for each core that this process may use."""
    workers = root.plain("workers", "auto")
    return len(os.sched_getaffinity(0)) if workers == "auto" else int(workers)


def _is_missing(root: Value, name: str) -> bool:
    """True if a section is left out or null. A section with errors counts as present."""
    section: Value | None = root.data.get(name)
    return name not in root.keys if section is None else section.data is None


def _listen(value: Value, problems: Problems) -> tuple[str, int] | None:
    try:
        return parse_listen(str(value.data))
    except Unreadable as error:
        problems.error(value.place, error.cause, error.remedy)
        return None


def _unwritable(path: Path) -> tuple[str, str] | None:
    """Why the file can't be written, and the remedy; None if it can."""
    elsewhere = "name a file in a folder that the gateway's user can write to"
    try:
        if path.is_dir():
            return f"{path} is a folder", elsewhere
        target = next(one for one in (path, *path.parents) if one.exists())
        if target != path and not target.is_dir():
            return f"{target} is not a folder", elsewhere
    except PermissionError as error:
        return f"{quote(str(path))} is not usable: {error.strerror}", access.to_write(path)
    except OSError as error:
        return f"{quote(str(path))} is not usable: {error.strerror}", elsewhere
    return None if os.access(target, os.W_OK) else (f"{target} is not writable", access.to_write(target))


def _unrotatable(path: Path) -> tuple[str, str] | None:
    """Why a log that can be written to can't be rotated, and the remedy; None if it can."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return f"{path} is not a regular file", "name the file itself in access_log.path, or remove rotate"
    folder = path.parent
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"files can't be renamed in {folder}", access.to_write(folder)
    return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
