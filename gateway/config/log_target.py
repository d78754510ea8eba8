"""Parses `access_log.path`: a file, `-`, `journald`, or `syslog:` with the address of a server.

Keeps true: a text that is meant for journald or a syslog server is never taken for a file's name.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, cast

from gateway.access import exists
from gateway.config.addresses import PORT_MAXIMUM, Unreadable, parse_server_host
from gateway.config.model import SyslogServer
from gateway.config.problems import Problems, quote
from gateway.config.reading import Value
from gateway.config.yaml_text import as_quoted

STDOUT: Final = "-"
JOURNALD: Final = "journald"
SYSLOG: Final = "syslog:"
JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
UNIX_PATH_BYTES: Final = 107  # of sockaddr_un, without the zero byte at its end
_JOURNALS: Final = frozenset({"journal", "journald", "systemd", "systemd-journald", "journal:", "journald:"})
_PORTS: Final = MappingProxyType({"udp": 514, "tcp": 514, "tls": 6514})  # RFC 5426, custom, RFC 5425
_MEANT: Final = MappingProxyType({"ssl": "tls", "tcps": "tls", "tcp+tls": "tls", "tls+tcp": "tls", "syslogs": "tls"})
_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]/:@?#\s]+)(?::(?P<port>[0-9]{1,5}))?/?")
_COLON_ONLY: Final = re.compile(r"(udp|tcp|tls):/?(.+)")
_EXAMPLES: Final = '"syslog:udp://10.0.0.5:514", "syslog:tls://logs.example.com:6514" or "syslog:/dev/log"'

Target = Literal["stdout", "journald"] | SyslogServer | Path


def read_log_target(section: Value, folder: Path, problems: Problems) -> Target:
    """Where the log of this section goes. Mistakes are reported, and then it is standard output."""
    value, ca = section.get("path"), section.get("ca")
    try:
        target: Target = "stdout" if value is None else parse_log_target(str(value.data), folder)
    except Unreadable as error:
        problems.error(section.at("path"), error.cause, error.remedy)
        return "stdout"
    if value is not None and target == "journald" and not exists(JOURNAL_SOCKET):
        cause = f"systemd-journald is not running here: {JOURNAL_SOCKET} does not exist"
        problems.error(value.place, cause, "name a file or a syslog server instead")
    if value is not None and isinstance(target, SyslogServer) and _is_exposed(target):
        cause = f"lines with people's names and addresses are sent to {target.host} unencrypted"
        problems.warning(value.place, cause, f"write {as_quoted(replace(target, kind='tls', port=_PORTS['tls']).url)}")
    if (rotate := section.get("rotate")) is not None and not isinstance(target, Path):
        cause = "rotate is for a file, and this log goes elsewhere"
        problems.error(rotate.place, cause, "remove it, or write the name of a file into path")
    if ca is None:
        return target
    if isinstance(target, SyslogServer) and target.kind == "tls":
        return replace(target, ca=folder / str(ca.data))
    example = f"{SYSLOG}tls://logs.example.com"
    problems.error(ca.place, "ca is for a syslog server with TLS", f'remove it, or write path: "{example}"')
    return target


def _is_exposed(server: SyslogServer) -> bool:
    """True if lines go to an address of the Internet without TLS."""
    try:
        return server.kind in {"udp", "tcp"} and ip_address(server.host).is_global
    except ValueError:
        return False


def parse_log_target(text: str, folder: Path) -> Target:
    """Where the log goes; a relative file is in `folder`. Raises `Unreadable`."""
    lower = text.lower()
    if text == STDOUT:
        return "stdout"
    if text == JOURNALD:
        return "journald"
    if lower in _JOURNALS:
        raise Unreadable(f"{quote(text)} is not a name of the journal", f"write {JOURNALD}, or ./{text} for a file")
    if lower.startswith(SYSLOG):
        return parse_syslog(text[len(SYSLOG) :])
    if lower == "syslog":
        raise Unreadable("'syslog' names no server", f"write {_EXAMPLES}; or ./{text} for a file")
    scheme, rest = _split(text)
    if scheme in _PORTS or scheme in _MEANT:
        server = _nearest(scheme, rest)
        raise Unreadable(f"{quote(text)} is not a file", f"write {server or _EXAMPLES}")
    return folder / text


def parse_syslog(text: str) -> SyslogServer:
    """The server in what follows `syslog:`. Raises `Unreadable`."""
    scheme, rest = _split(text)
    if scheme == "unix" or (not scheme and rest.startswith("/") and not rest.startswith("//")):
        return _unix(rest)
    if scheme not in ("", *_PORTS):
        nearest = _nearest(scheme, rest)
        raise Unreadable(f"{quote(scheme + '://')} is not a way to send syslog", f"write {nearest or _EXAMPLES}")
    kind = scheme or "udp"
    if (server := _SERVER.fullmatch(rest)) is None:
        raise Unreadable(f"{quote(SYSLOG + text)} is not a syslog server", _remedy(kind, rest))
    port = int(server["port"] or _PORTS[kind])
    if not 0 < port <= PORT_MAXIMUM:
        raise Unreadable(f"port {port} does not exist", f"write a port up to {PORT_MAXIMUM}")
    host = parse_server_host(server["host"].removeprefix("[").removesuffix("]"))
    return SyslogServer(cast('Literal["udp", "tcp", "tls"]', kind), host, port)


def _split(text: str) -> tuple[str, str]:
    """Scheme, in lower case, and the rest; without a scheme, an empty one."""
    scheme, separator, rest = text.partition("://")
    return (scheme.lower(), rest) if separator else ("", text)


def _unix(path: str) -> SyslogServer:
    if not path.startswith("/"):
        raise Unreadable(f"{quote(path)} is not an absolute path", "write one such as syslog:/dev/log")
    if not path.isprintable():
        raise Unreadable(f"{quote(path)} has control characters", "write a path such as /dev/log")
    if len(path.encode()) > UNIX_PATH_BYTES:
        raise Unreadable(
            f"a socket's path can't be longer than {UNIX_PATH_BYTES} bytes", "write a shorter one such as /dev/log"
        )
    return SyslogServer("unix", path)


def _nearest(scheme: str, rest: str) -> str | None:
    """What was probably meant by another scheme; None if that can't be told."""
    kind = "udp" if scheme == "syslog" else _MEANT.get(scheme, scheme)
    if kind not in _PORTS or _SERVER.fullmatch(rest) is None:
        return None
    return as_quoted(f"{SYSLOG}{kind}://{rest.rstrip('/')}")


def _remedy(kind: str, rest: str) -> str:
    bare = rest.removeprefix("//")
    if (scheme := _COLON_ONLY.fullmatch(bare)) is not None and _SERVER.fullmatch(scheme[2]) is not None:
        return f"write {as_quoted(f'{SYSLOG}{scheme[1]}://{scheme[2]}')}"
    if _SERVER.fullmatch(bare) is not None:
        return f"write {as_quoted(f'{SYSLOG}{kind}://{bare}')}"
    if bare.count(":") > 1 and "[" not in bare and re.fullmatch(r"[0-9A-Fa-f:.]+", bare):
        return f"write an IPv6 address in brackets: {as_quoted(f'{SYSLOG}{kind}://[{bare}]:{_PORTS[kind]}')}"
    return f"write {_EXAMPLES}"
