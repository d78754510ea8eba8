"""Names that stand for others, by a key.

Keeps true: the same text has the same pseudonym under one key, and without the key no pseudonym can be turned back,
also not by trying all texts. Pseudonyms of addresses belong to no client: they are from ranges that are reserved
(240.0.0.0/4, RFC 1112) or for documentation (3fff::/20, RFC 9637).
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.facts import Address, parse_address

MAX_REMEMBERED: Final = 32_768  # texts that come again, at most 16 MiB
_DIGITS: Final = 8  # of a digest in a name: of 10,000 people, two have the same one with a chance of 1 %

_V4_RANGE: Final = 0xF0000000
_V4_NETWORK_BITS: Final = 20
_V6_RANGE: Final = 0x3FFF << 112
_V6_NETWORK_BITS: Final = 44
_HOST_BITS: Final = 64
_HALF_BITS: Final = 4  # of an IPv4 network's last octet
_ROUNDS: Final = 4


class Pseudonyms:
    """The pseudonyms under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._digest = lru_cache(MAX_REMEMBERED)(self._new_digest)
        self.address = lru_cache(MAX_REMEMBERED)(self._new_address)

    def _new_digest(self, kind: str, text: str) -> str:
        message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, "sha256").hex()

    def _number(self, kind: str, text: str, bits: int) -> int:
        return int(self._digest(kind, text), 16) & ((1 << bits) - 1)

    def digits(self, kind: str, text: str, count: int = _DIGITS) -> str:
        """Hex digits for a text of this kind; case is ignored."""
        return self._digest(kind, text.lower())[:count]

    def digits_once(self, kind: str, text: str, count: int) -> str:
        """As `digits`, for texts that don't come again."""
        return self._new_digest(kind, text.lower())[:count]

    def name(self, text: str) -> str:
        """For a name that is not known to be a person's. It has the digits that the person would have."""
        return f"name-{self.digits('person', text)}"

    def person(self, text: str) -> str:
        r"""For a login, a mail address or a person's name: `person-3f2a9c1b`, with a domain if the text has one.

        The login `alice`, `CORP\alice` and alice@example.com have the same `person-…`.
        """
        if not text:
            return ""
        domain, backslash, login = text.rpartition("\\")
        local, at, mail_domain = login.partition("@")
        if domain.count("\\") or "@" in mail_domain or (at and not (local and mail_domain)) or not login:
            return f"person-{self.digits('person', text)}"
        before = f"domain-{self.digits('domain', domain)}\\" if backslash else ""
        after = f"@domain-{self.digits('domain', mail_domain)}.example" if at else ""
        return f"{before}person-{self.digits('person', local)}{after}"

    def host(self, text: str) -> str:
        """For a host name or an address, with its port: `host-3f2a9c1b.example:443`."""
        name, port = text, ""
        head, colon, tail = text.rpartition(":")
        if colon and tail.isascii() and tail.isdecimal() and ("]" in head or ":" not in head):
            name, port = head, f":{tail}"
        bare = name.removeprefix("[").removesuffix("]")
        found = self.address(bare)
        if found is not None:
            return f"[{found}]{port}" if ":" in found else f"{found}{port}"
        shown = name if name == "*" else f"host-{self.digits('host', name.rstrip('.'))}.example"
        return f"{shown}{port}"

    def _new_address(self, text: str) -> str | None:
        """For an IP address; None if the text is none. Addresses of a /24 or /64 stay in one, and families stay."""
        try:
            address = parse_address(text)
        except ValueError:
            return None
        return str(self._v4(address) if isinstance(address, IPv4Address) else self._v6(address))

    def _v4(self, address: Address) -> Address:
        network, last = divmod(int(address), 256)
        left, right = last >> _HALF_BITS, last & 0xF  # a Feistel network: no two addresses of a /24 become one
        for turn in range(_ROUNDS):
            left, right = right, left ^ self._number(f"v4 round {turn}", f"{network}/{right}", _HALF_BITS)
        number = self._number("v4 network", str(network), _V4_NETWORK_BITS) << 8 | left << _HALF_BITS | right
        return IPv4Address(_V4_RANGE | number)

    def _v6(self, address: Address) -> Address:
        network = int(address) >> _HOST_BITS
        prefix = self._number("v6 network", str(network), _V6_NETWORK_BITS) << _HOST_BITS
        return IPv6Address(_V6_RANGE | prefix | self._number("v6 host", str(address), _HOST_BITS))
