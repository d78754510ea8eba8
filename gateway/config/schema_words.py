"""Kinds that several sections of the schema use: file names, networks, hosts, listen addresses."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Field, Kind, Text

SECOND: Final = 1.0
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
KIB: Final = 1024
NAME_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,62}"
USER: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
ONE_LINE: Final = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}"

FILE: Final = Text(what="a file name", example="certs/mail.crt")
LISTEN_ADDRESS: Final = Text(
    what="a listen address", example='"0.0.0.0:443", "[::1]:443" or ":443"', number_remedy='write ":{}"'
)
CIDR: Final = Text(what="a network", example="10.0.0.0/8", has_spaces=False)
NETWORK: Final = Text(what="a network name or CIDR", example="internal or 10.0.0.0/8", has_spaces=False)
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}"  # RFC 5322 section 3.2.3
EMAIL: Final = Text(
    what="an e-mail address",
    pattern=rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,251}}[A-Za-z0-9])?",
    example="admin@example.com",
    has_spaces=False,
)
HOST: Final = Text(what="a host name", example='mail.example.com, "*.example.com" or "*"', has_spaces=False)


def optional(name: str, kind: Kind, default: object, description: str) -> Field:
    """A key with a default value."""
    return Field(name, kind, description, default=default)
