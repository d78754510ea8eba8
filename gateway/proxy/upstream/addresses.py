"""Addresses of servers: given in the configuration, or the answer about a name."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple


class Records(NamedTuple):
    """The answer about a name's IPv6 addresses, or its IPv4 addresses."""

    addresses: tuple[str, ...] = ()
    ttl_seconds: float = 0.0  # the smallest, aliases included
    cause: str | None = None  # why there are no addresses
    is_answer: bool = True  # False: no server answered; the last answer may still be right


def is_address(host: str) -> bool:
    """True for an IP address, which needs no resolving."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
