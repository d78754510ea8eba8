"""The uses of certificates. The extendedKeyUsage of an authority limits the certificates below it.

RFC 5280 gives the extension no such meaning, but OpenSSL, browsers, Windows and Apple do. So a stolen key of an
authority for people can't make a web site's certificate. OCSP signers are exempt: verifiers look at the signer's own
extension.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from gateway.errors import UsageError
from gateway.pki.registry.records import Purpose
from gateway.pki.words import Signs
from gateway.x509.fields import extensions_of, subject_of

OF_PURPOSE: Final = MappingProxyType(
    {
        Purpose.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION),
        Purpose.AUTH: (ExtendedKeyUsageOID.CLIENT_AUTH,),
        Purpose.SMIME: (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
        Purpose.SMIME_SIGNING: (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
        Purpose.SMIME_ENCRYPTION: (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
        Purpose.SERVER: (ExtendedKeyUsageOID.SERVER_AUTH,),
        Purpose.OCSP: (ExtendedKeyUsageOID.OCSP_SIGNING,),
    }
)
_OF_AUTHORITY: Final = MappingProxyType(
    {Signs.PEOPLE: OF_PURPOSE[Purpose.CLIENT], Signs.SERVERS: OF_PURPOSE[Purpose.SERVER]}
)


def limit(signs: Signs) -> x509.ExtendedKeyUsage | None:
    """The extension for an authority's certificate; None if it may sign for every use."""
    return None if signs is Signs.ALL else x509.ExtendedKeyUsage(_OF_AUTHORITY[signs])


def described(authority: x509.Certificate) -> str:
    """What an authority may sign for: `people`, `servers` or `all`; in other cases, the names of the uses."""
    found = _limit_of(authority)
    if found is None:
        return Signs.ALL.value
    words = (word.value for word, uses in _OF_AUTHORITY.items() if found == set(uses))
    return next(words, ", ".join(sorted(use._name for use in found)))


def allows(authority: x509.Certificate, purpose: Purpose) -> bool:
    """Whether it may sign for one of the purpose's uses."""
    allowed = _limit_of(authority)
    return allowed is None or purpose is Purpose.OCSP or not allowed.isdisjoint(OF_PURPOSE[purpose])


def check(path: Iterable[x509.Certificate], purpose: Purpose, parent: str | None) -> None:
    """Refuse a use that an authority on the path may not sign. Raises `UsageError`."""
    for authority in path:
        if not allows(authority, purpose):
            word = Signs.SERVERS if purpose is Purpose.SERVER else Signs.PEOPLE
            below = "" if parent is None else f" --parent {parent}"
            raise UsageError(
                f"{subject_of(authority).rfc4514_string()} may sign for {described(authority)} only",
                f"Make an authority for {word}: 'gateway ca init {word}{below} --signs {word}'.",
            )


def _limit_of(authority: x509.Certificate) -> set[ObjectIdentifier] | None:
    try:
        found = set(extensions_of(authority).get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None
    return None if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found else found
