"""Who is counted, and kept out, together after too many failed logins; and the refusal of those who are."""

from __future__ import annotations

import math
from ipaddress import IPv6Address, IPv6Network

from gateway.errors import RequestError
from gateway.facts import Reason, parse_address


class LockedOut(RequestError):  # noqa: N818 - named for what it is, as the reason code
    """Too many failed logins from this address; `retry_after_seconds` until it may try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Reason.LOCKED_OUT, "too many failed attempts from this address")
        self.retry_after_seconds = max(1, math.ceil(seconds))


def key_of_text(text: str) -> str:
    """The key of an address, or of a key, that was written down. Raises `ValueError`.

    An IPv6 client is its /64: it has all of it to choose from (RFC 6177).
    """
    address = parse_address(text.partition("/")[0])
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
