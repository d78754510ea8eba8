"""Parses addresses, networks, host names and server URLs as people write them, into one spelling.

Every function raises `Unreadable`, with a cause and a remedy, for a text that it doesn't accept. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network, summarize_address_range
from typing import Final, Literal

from gateway.config.model import NameServer, Network, Server
from gateway.config.problems import quote
from gateway.config.yaml_text import as_yaml, as_yaml_list
from gateway.errors import PatternError
from gateway.policy.hosts import parse_host_pattern

PORT_MAXIMUM: Final = 65535
_MAPPED_PREFIX_BITS: Final = 96  # ::ffff:0:0/96 (RFC 4291, 2.5.5.2)
_PORT_OR_PATH: Final = re.compile(r"(?::[0-9]{1,5})?(?:/.*)?$", re.DOTALL)
_SEVERAL: Final = re.compile(r"[^\s,;]*:[0-9]{1,5}(?![^\s,;])")
_WITH_WORDS: Final = re.compile(r"(\S*:)?([0-9]{1,5})(?:\s+[a-z0-9_=]+)+;?")  # nginx: listen 443 ssl http2
_EVERY_HOST: Final = frozenset({"_", "default", "default_server", "_default_"})  # in nginx and Apache httpd
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SERVER: Final = re.compile(
    r"(?P<scheme>(?i:https?))://(?P<user>[^/?#@\s]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]/:@?#\s]+)"
    r"(?::(?P<port>[0-9]{1,5}))?/?(?P<rest>[^\s]*)"
)
_SCHEME: Final = re.compile(r"(?i)(https?)(?::/?|//?)(?=[^/:])")
_SERVER_REMEDY: Final = "write http:// or https://, a host and a port: https://10.0.0.5:443"
_ADDRESS_AND_MORE: Final = re.compile(
    r"(?P<address>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]{1,5}|\s*/\s*(?P<bits>[0-9]{1,2})\.?)"
)
_OCTETS: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){0,2})(?:(?:\.\*){1,3}|\.?)")
_SHOWN_NETWORKS: Final = 16  # more don't fit into a line
_BRACKETS_REMEDY: Final = "write an IPv6 address in brackets: https://[fd00::5]:443"
_MAIL_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]/:@?#\s]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_DNS_PORT: Final = 53
_NAME_SERVER_REMEDY: Final = 'write an IP address, with a port or without: 10.0.0.53 or "10.0.0.53:5353"'


class Unreadable(Exception):  # noqa: N818 - says what the text is
    """A text that is not valid for its key: cause and remedy."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


def parse_listen(text: str) -> tuple[str, int]:
    """Host (an IP address; empty for every address) and port of a listen address."""
    if (several := _SEVERAL.findall(text)) and len(several) > 1:
        entries = " and ".join(f'{{address: "{each}"}}' for each in several)
        raise Unreadable(f"{quote(text)} is several addresses", f"write an entry for each: {entries}")
    if (found := _WITH_WORDS.fullmatch(text)) is not None:
        raise Unreadable(f"{quote(text)} has words behind the port", f'write "{found[1] or ":"}{found[2]}"')
    host, separator, port = text.rpartition(":")
    if not separator or not _PORT.fullmatch(port):
        if _PORT.fullmatch(text):
            raise Unreadable(f"{quote(text)} is only a port", f'write ":{text}" for every address')
        raise Unreadable(f"{quote(text)} has no port", 'write host:port, for example "0.0.0.0:443" or ":443"')
    if int(port) > PORT_MAXIMUM:
        raise Unreadable(f"port {port} does not exist", f"write a port up to {PORT_MAXIMUM}")
    if not host:
        return "", int(port)
    if host == "*":
        raise Unreadable("'*' is not an address", f'write ":{port}" for every address')
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if is_bracketed else host)
    except ValueError:
        remedy = f'write one such as "127.0.0.1:{port}" or "[::1]:{port}", or ":{port}" for every address'
        raise Unreadable(f"{quote(host)} is not an IP address", remedy) from None
    if isinstance(address, IPv6Address) != is_bracketed:
        spelled = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        raise Unreadable(f"{quote(text)} has misplaced brackets", f'write "{spelled}:{port}"')
    return str(address), int(port)


def parse_network(text: str) -> Network:
    """A CIDR, or a single address; IPv4-mapped IPv6 networks are refused, because such clients count as IPv4."""
    try:
        network = ip_network(text, strict=False)
        address = ip_address(text.partition("/")[0])
    except ValueError:
        remedy = _nearest_networks(text) or "write a CIDR such as 10.0.0.0/8 or fd00::/8"
        raise Unreadable(f"{quote(text)} is not a network", remedy) from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise Unreadable(f"{quote(text)} names an interface", f"write {str(network).partition('%')[0]}/128")
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_PREFIX_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            fixed = ip_network((mapped, network.prefixlen - _MAPPED_PREFIX_BITS))
            raise Unreadable(f"{quote(text)} is an IPv4 network in IPv6 notation", f"write {fixed}")
    if network.num_addresses == 1 and address.is_unspecified:
        raise Unreadable(
            f"no client has the address {text}", f"write {address}/0 for every IPv{address.version} address"
        )
    if address != network.network_address:
        raise Unreadable(f"{quote(text)} has bits set beyond its prefix length", f"write {network} or {address}")
    return network


def _nearest_networks(text: str) -> str | None:
    """The remedy for a range of addresses, for `10.0.*` and `10.0`; None for anything else."""
    if text.lower() == "localhost":
        return 'write [127.0.0.0/8, "::1/128"]'
    if (found := _ADDRESS_AND_MORE.fullmatch(text)) is not None:
        return _write_networks([found["address"] + (f"/{found['bits']}" if found["bits"] else "")])
    first, dash, last = (part.strip() for part in text.partition("-"))
    if (found := _OCTETS.fullmatch(text)) is not None:
        octets = found[1].split(".")
        return _write_networks([".".join([*octets, *["0"] * (4 - len(octets))]) + f"/{8 * len(octets)}"])
    if not dash:
        return None
    if last.isdigit() and "." in first:
        last = f"{first.rpartition('.')[0]}.{last}"
    try:
        networks = list(summarize_address_range(ip_address(first), ip_address(last)))
    except (TypeError, ValueError):  # of two kinds, or the wrong way round
        return None
    return _write_networks(map(str, networks)) if len(networks) <= _SHOWN_NETWORKS else None


def _write_networks(texts: Iterable[str]) -> str | None:
    try:
        networks = [str(ip_network(text)) for text in texts]
    except ValueError:
        return None
    return f"write {as_yaml_list(networks) if len(networks) > 1 else networks[0]}"


def looks_like_network(text: str) -> bool:
    """True if a text seems to be an address or CIDR and not a name."""
    return "/" in text or ":" in text or text[:1].isdigit()


def parse_host(text: str) -> str:
    """A host pattern as it is compared with requests: lower case, A-labels (RFC 5890), no final dot, no port."""
    if text in _EVERY_HOST:
        raise Unreadable(f"{quote(text)} is not a host that clients ask for", 'write "*" for every other host')
    try:
        return parse_host_pattern(text).text
    except PatternError as error:
        raise Unreadable(error.cause, _nearest_host(text) or error.remedy) from error


def _nearest_host(text: str) -> str | None:
    """The remedy for a URL, a host with its port or path, or one that begins with a dot; None for anything else."""
    try:
        return f'write "[{IPv6Address(text)}]"'
    except ValueError:
        pass
    name = re.sub(r"^https?://", "", text.strip(), flags=re.IGNORECASE)
    name = _PORT_OR_PATH.sub("", name)
    name = f"*{name}" if name.startswith(".") else name
    try:
        found = parse_host_pattern(name).text
    except PatternError:
        return None
    return None if name == text else f"write {as_yaml(found)}"


def parse_server(text: str) -> Server:
    """An upstream server's URL; the port may be left out."""
    if (found := _SERVER.fullmatch(text)) is None:
        raise Unreadable(f"{quote(text)} is not a server's URL", _nearest_server(text) or _SERVER_REMEDY)
    if found["rest"].startswith(":"):
        raise Unreadable(f"{quote(text)} has too many colons", _BRACKETS_REMEDY)
    scheme: Literal["http", "https"] = "https" if found["scheme"].lower() == "https" else "http"
    if found["user"] or found["rest"]:
        authority = found["host"] + (f":{found['port']}" if found["port"] else "")
        raise Unreadable("a server's URL can't have a path, a query or a user name", f"write {scheme}://{authority}")
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    if not 0 < port <= PORT_MAXIMUM:
        raise Unreadable(f"port {port} does not exist", f"write a port up to {PORT_MAXIMUM}")
    return Server(scheme, _server_host(found["host"]), port)


def _nearest_server(text: str) -> str | None:
    """The remedy for a host with or without a port, and for a scheme that is not followed by `://`."""
    url, space, _ = text.partition(" ")
    if space and "://" in url and _SERVER.fullmatch(url) is not None:
        return f"write {url}"
    scheme, bare = _SCHEME.match(text), _SCHEME.sub("", text)
    if "://" in text or (found := _SERVER.fullmatch(f"https://{bare}")) is None or found["user"] or found["rest"]:
        return None
    if scheme is not None:
        return f"write {scheme[1].lower()}://{bare}"
    return f"write https://{bare}, or http://{bare} if it has no TLS"


def parse_name_server(text: str) -> NameServer:
    """A DNS server's address; the port may be left out."""
    try:
        return NameServer(str(ip_address(text)), _DNS_PORT)
    except ValueError:
        pass
    try:
        host, port = parse_listen(text)
    except Unreadable as error:
        raise Unreadable(f"{quote(text)} is not a DNS server's address", _NAME_SERVER_REMEDY) from error
    if not host or not port:
        raise Unreadable(f"{quote(text)} is not a DNS server's address", _NAME_SERVER_REMEDY)
    return NameServer(host, port)


def parse_mail_server(text: str) -> tuple[str, int | None]:
    """Host and port of a mail server; the port may be left out."""
    if (found := _MAIL_SERVER.fullmatch(text)) is None:
        raise Unreadable(f"{quote(text)} is not a mail server", "write a host and a port: smtp.example.com:587")
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 0 < port <= PORT_MAXIMUM:
        raise Unreadable(f"port {port} does not exist", f"write a port up to {PORT_MAXIMUM}")
    return _server_host(found["host"]), port


def parse_server_host(host: str) -> str:
    """A host name or IP address (without brackets)."""
    try:
        return str(ip_address(host))
    except ValueError:
        try:
            name = parse_host(host)
        except Unreadable as error:
            raise Unreadable(error.cause, "write the name of one host, or its IP address") from error
    if "*" in name:
        raise Unreadable(f"{quote(host)} is not one host", "write its name without '*'")
    return name


def clash(first: tuple[str, int], second: tuple[str, int]) -> bool:
    """True if two listen addresses can't be bound at the same time (IPv6 sockets accept only IPv6)."""
    if first[1] != second[1] or first[1] == 0:
        return False
    hosts = {first[0], second[0]}
    if len(hosts) == 1 or "" in hosts:
        return True
    one, other = (ip_address(host) for host in hosts)
    return one.version == other.version and (one.is_unspecified or other.is_unspecified)


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    address: IPv4Address | IPv6Address | None = ip_address(host) if host else None
    return address is not None and address.is_loopback


def _server_host(text: str) -> str:
    if not text.startswith("["):
        return parse_server_host(text)
    try:
        return str(IPv6Address(text[1:-1]))
    except ValueError:
        raise Unreadable(f"{quote(text)} is not an IPv6 address", _SERVER_REMEDY) from None
