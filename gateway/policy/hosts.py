"""Host names in one spelling, patterns for them, and the look-up of the site for a name.

Keeps true: a name has exactly one normalised spelling; `*.suffix` stands for exactly one label, as in
certificates (RFC 6125, 6.4.3). An exact name has precedence over a wildcard, and a wildcard over `*`. A look-up costs
two dictionary look-ups for any number of hosts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Generic, Literal, TypeVar

from gateway.errors import PatternError, RequestError
from gateway.facts import Reason

T = TypeVar("T")

_HOST_CHARACTERS: Final = 253  # RFC 1035, 2.3.4: 255 octets with length bytes and root
_PORT: Final = re.compile(r":([0-9]{0,5})\Z")
_MAX_PORT: Final = 65535
# Letters, digits and hyphens (RFC 1123, 2.1), and the underscore, which internal names may have.
_NAME: Final = re.compile(r"(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC_END: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
# IDNA 2003 (Python) and IDNA 2008 (browsers) make different names of these (UTS 46, 7).
_DEVIATIONS: Final = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
_REMEDY: Final = 'write a name, "*.suffix" or "*"'


class HostRejected(RequestError):  # noqa: N818  # named for what happened, as in uri
    """A host that is neither a name nor an address; answered with 400 `bad_request`."""

    def __init__(self, cause: str) -> None:
        super().__init__(Reason.BAD_REQUEST, cause)


def normalise_host(text: str) -> str:
    """A `Host` or server name in its one spelling: lower case, no port, no final dot, A-labels, `[v6]` compressed.

    Source: RFC 9110, 7.2; RFC 3986, 3.2.2. Raises `HostRejected`.
    """
    name = _without_port(text)
    if name.startswith("["):
        return _address_literal(name)
    name = name.removesuffix(".")
    name = name.lower() if name.isascii() else _to_ascii(name)
    if len(name) > _HOST_CHARACTERS or _NAME.fullmatch(name) is None:
        raise HostRejected(f"{_shown(text)} is not a host name")
    if _NUMERIC_END.fullmatch(name) is not None:
        _check_dotted_quad(name)
    return name


def port_of(text: str) -> int | None:
    """The port in a `Host` that `normalise_host` accepts; None if it has no port."""
    port = None if text.endswith("]") else _PORT.search(text)
    return int(port[1]) if port is not None and port[1] else None


@dataclass(frozen=True, slots=True)
class HostPattern:
    """`mail.example.com`, `*.example.com` (exactly one label) or `*`."""

    kind: Literal["exact", "wildcard", "any"]
    name: str  # the name, the suffix without "*.", or ""

    @property
    def text(self) -> str:
        """The pattern in its one spelling."""
        if self.kind == "wildcard":
            return f"*.{self.name}"
        return "*" if self.kind == "any" else self.name

    def matches(self, host: str) -> bool:
        """Whether the pattern matches a normalised host."""
        if self.kind == "wildcard":
            return suffix_of(host) == self.name
        return self.kind == "any" or host == self.name

    def covers(self, other: HostPattern) -> bool:
        """Whether this pattern matches every host that the other one matches."""
        if self.kind == "wildcard" and other.kind == "exact":
            return self.matches(other.name)
        return self.kind == "any" or self == other

    def meets(self, other: HostPattern) -> bool:
        """Whether some host matches both patterns."""
        return self.covers(other) or other.covers(self)

    def keeps(self, narrower: HostPattern, others: Iterable[HostPattern]) -> bool:
        """Whether a site with this pattern serves the hosts of a narrower one, though other sites have `others`.

        A host belongs to the site with the most specific pattern for it.
        """
        return not any(self.covers(other) and other.covers(narrower) for other in others)


def parse_host_pattern(text: str) -> HostPattern:
    """A pattern from the file. Raises `PatternError` with the remedy."""
    if text == "*":
        return HostPattern("any", "")
    suffix = text.removeprefix("*.")
    try:
        if _PORT.search(suffix) is not None and not suffix.endswith("]"):
            raise PatternError(
                f"{text!r} names a port", "write the host without the port; a site answers on every listener"
            )
        name = normalise_host(suffix)
    except HostRejected as error:
        cause = error.cause if suffix == text else f"{text!r} is not a host name"
        is_read_differently = not _DEVIATIONS.isdisjoint(suffix)
        remedy = "write its A-label, which begins with xn--" if is_read_differently else _REMEDY
        raise PatternError(cause, remedy) from error
    if suffix == text:
        return HostPattern("exact", name)
    if name.startswith("[") or _NUMERIC_END.fullmatch(name) is not None:
        raise PatternError(f"{text!r} is a wildcard over an address", "write the address itself")
    return HostPattern("wildcard", name)


def suffix_of(host: str) -> str | None:
    """The host without its first label, which a wildcard for this host must have; None if the host has one label."""
    return host.partition(".")[2] or None


class SiteIndex(Generic[T]):
    """Finds the entry with the most specific pattern for a normalised host."""

    __slots__ = ("_any", "_exact", "_wildcard")

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        self._exact: dict[str, T] = {}
        self._wildcard: dict[str, T] = {}
        self._any: T | None = None
        seen: set[HostPattern] = set()
        for text, value in entries:
            pattern = parse_host_pattern(text)
            if pattern in seen:
                raise PatternError(f"host {text!r} is in two sites", "remove it from one of them")
            seen.add(pattern)
            self._file(pattern, value)

    def find(self, host: str | None) -> T | None:
        """The entry for a host; None if there is none. Without a host: the entry for `*`."""
        if host is None:
            return self._any
        if (found := self._exact.get(host)) is not None:
            return found
        return self._wildcard.get(host.partition(".")[2], self._any)

    def _file(self, pattern: HostPattern, value: T) -> None:
        if pattern.kind == "any":
            self._any = value
        else:
            (self._exact if pattern.kind == "exact" else self._wildcard)[pattern.name] = value


def _without_port(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return text
    if (port := _PORT.search(text)) is None:
        return text
    if port[1] and int(port[1]) > _MAX_PORT:
        raise HostRejected(f"{_shown(text)} has a port above {_MAX_PORT}")
    return text[: port.start()]


def _address_literal(name: str) -> str:
    try:
        if not name.endswith("]") or "%" in name:
            raise HostRejected(f"{_shown(name)} is not an IPv6 address in brackets")
        return f"[{IPv6Address(name[1:-1])}]"
    except ValueError as error:
        raise HostRejected(f"{_shown(name)} is not an IPv6 address in brackets") from error


def _check_dotted_quad(name: str) -> None:
    """Refuse a name that ends in a number and is not an address. Resolvers differ in the address they read in it."""
    try:
        IPv4Address(name)
    except ValueError as error:
        raise HostRejected(f"{_shown(name)} ends in a number and is not an IPv4 address") from error


def _to_ascii(name: str) -> str:
    if len(name) > _HOST_CHARACTERS:  # an A-label is never shorter than its name, and the codec takes quadratic time
        raise HostRejected(f"{_shown(name)} is longer than a host name can be")
    if not _DEVIATIONS.isdisjoint(name):
        raise HostRejected(f"{_shown(name)} is read differently by IDNA 2003 and 2008")
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise HostRejected(f"{_shown(name)} is not an internationalised host name") from error


def _shown(text: str) -> str:
    """Hostile text for a message: escaped, and not longer than a name may be."""
    return ascii(text[:_HOST_CHARACTERS])
