"""The paths of known mail servers that people need from outside, for `gateway init`. docs/servers.md has the rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_ACTIVESYNC: Final = "/Microsoft-Server-ActiveSync"


class ServerKind(StrEnum):
    """A mail server whose paths are known, or another one."""

    EXCHANGE = "exchange"
    ICEWARP = "icewarp"
    ROUNDCUBE = "roundcube"
    SOGO = "sogo"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of one kind of server, as `uri` in a rule takes them."""

    with_certificate: tuple[str, ...]  # from outside
    never_outside: tuple[str, ...] = ()  # below or beside them, and not for people outside
    never: tuple[str, ...] = ()  # not even for people inside
    is_per_client: bool = False  # logins belong to connections (NTLM)


PATHS: Final = MappingProxyType(
    {
        ServerKind.EXCHANGE: Paths(("/owa", _ACTIVESYNC), never_outside=("/ecp", "/powershell"), is_per_client=True),
        ServerKind.ICEWARP: Paths(("/webmail", _ACTIVESYNC)),
        ServerKind.ROUNDCUBE: Paths(("/roundcube",), never=("/roundcube/config", "/roundcube/temp", "/roundcube/logs")),
        ServerKind.SOGO: Paths(("=/", "/SOGo", "/SOGo.woa", _ACTIVESYNC, "/.well-known")),
        ServerKind.OTHER: Paths(("/webmail", _ACTIVESYNC)),
    }
)
