"""Which certificates of its CA a revocation list covers: its issuingDistributionPoint.

Keeps true: a list covers a certificate only if the list includes its kind (users, CAs) and, if the
list is for a distribution point, only if the certificate names that point. Names of points are equal only if type and
value are; URIs are compared byte by byte. A certificate's point is used only if it is for all reasons and its lists are
issued by the certificate's own CA.

Sources: RFC 5280 sections 4.2.1.13, 5.2.5 and 6.3.3 (b)(2).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from cryptography import x509

from gateway.errors import ConfigError
from gateway.x509.authorities import has_ca_flag
from gateway.x509.fields import extensions_of, issuer_of
from gateway.x509.name_matching import folded, folded_part

Point = tuple[str, Hashable]

# Points shown in a message; CAs write one or two.
MAX_SHOWN_POINTS: Final = 2

_DIRECTORY: Final = "directory name"


class Holders(Enum):
    """Whose certificates a list includes."""

    ALL = "all certificates"
    USERS = "certificates of users"
    CAS = "certificates of CAs"
    ATTRIBUTES = "attribute certificates"


class Traits:
    """The properties of a certificate that decide which lists cover it; each is read once, when needed."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate

    @cached_property
    def is_ca(self) -> bool:
        """True for the certificate of a CA."""
        return has_ca_flag(self._certificate)

    @cached_property
    def points(self) -> frozenset[Point]:
        """Its distribution points; its issuer's name is always one of them (RFC 5280 section 6.3.3, at the end)."""
        issuer = issuer_of(self._certificate)
        found = set(_points([x509.DirectoryName(issuer)], None, issuer) or ())
        try:
            named = extensions_of(self._certificate).get_extension_for_class(x509.CRLDistributionPoints).value
        except x509.ExtensionNotFound:
            return frozenset(found)
        for point in named:
            if point.reasons is None and point.crl_issuer is None:
                found.update(_points(point.full_name, point.relative_name, issuer) or ())
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Scope:
    """The certificates for which a list is complete. Lists with equal scopes replace one another."""

    holders: Holders = Holders.ALL
    points: frozenset[Point] | None = None  # None: the list is not for a distribution point

    def covers(self, certificate: Traits) -> bool:
        """True if a list of this scope says whether this certificate, of the same CA, is revoked."""
        if self.holders is Holders.ATTRIBUTES:
            return False
        if self.holders is not Holders.ALL and certificate.is_ca is not (self.holders is Holders.CAS):
            return False
        return self.points is None or not self.points.isdisjoint(certificate.points)

    @property
    def may_cover_users(self) -> bool:
        """False if the scope covers no users' certificates."""
        return self.holders in (Holders.ALL, Holders.USERS)

    def includes(self, other: Scope) -> bool:
        """True if a list of this scope covers every certificate that a list of scope `other` covers."""
        if self.holders is not Holders.ALL and self.holders is not other.holders:
            return False
        return self.points is None or (other.points is not None and self.points >= other.points)

    def __str__(self) -> str:
        """The words that follow "covers" in a message."""
        text = "all certificates" if self.holders is Holders.ALL else f"only {self.holders.value}"
        if self.points is None:
            return text
        shown = sorted(repr(value) if kind != _DIRECTORY else "a directory name" for kind, value in self.points)
        more = " or another" if len(shown) > MAX_SHOWN_POINTS else ""
        return f"{text} whose crlDistributionPoints name {' or '.join(shown[:MAX_SHOWN_POINTS])}{more}"


WHOLE: Final = Scope()


def scope_of(point: x509.IssuingDistributionPoint, issuer: x509.Name, source: str) -> Scope:
    """The scope of a list by `issuer`. Raises `ConfigError` for indirect lists and lists of some reasons only."""
    for is_so, what in (
        (point.indirect_crl, "covers certificates of other CAs too (indirectCRL)"),
        (point.only_some_reasons is not None, "includes only some revocation reasons (onlySomeReasons)"),
    ):
        if is_so:
            raise ConfigError(f"{source}: the list {what}", "let the CA publish a list of all that it revoked")
    holders = Holders.ALL
    for is_so, which in (
        (point.only_contains_user_certs, Holders.USERS),
        (point.only_contains_ca_certs, Holders.CAS),
        (point.only_contains_attribute_certs, Holders.ATTRIBUTES),
    ):
        holders = which if is_so else holders
    points = _points(point.full_name, point.relative_name, issuer)
    return Scope(holders, points)


def _points(
    full: Iterable[x509.GeneralName] | None, relative: x509.RelativeDistinguishedName | None, issuer: x509.Name
) -> frozenset[Point] | None:
    if relative is not None:
        return frozenset([(_DIRECTORY, (*folded(issuer), folded_part(relative)))])
    if full is None:
        return None
    return frozenset(
        (_DIRECTORY, folded(name.value))
        if isinstance(name, x509.DirectoryName)
        else (type(name).__name__, _value(name))
        for name in full
    )


def _value(name: x509.GeneralName) -> Hashable:
    return name.value if isinstance(name.value, str) else name
