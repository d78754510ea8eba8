"""Whether a certificate is a CA's, what that CA may issue, and which certificates descend from it."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from gateway.x509.fields import extensions_of, issuer_of, subject_of
from gateway.x509.keys import has_issued
from gateway.x509.unreadable import UNREADABLE


def is_ca(certificate: x509.Certificate) -> bool:
    """True for a certificate of a CA that may sign certificates."""
    if not is_marked_as_ca(certificate):
        return False
    try:
        return extensions_of(certificate).get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def is_marked_as_ca(certificate: x509.Certificate) -> bool:
    """True for a CA's certificate. X.509v1 can't mark CAs: self-issued certificates count, as old roots are."""
    if certificate.version is x509.Version.v1:
        return issuer_of(certificate) == subject_of(certificate)
    return has_ca_flag(certificate)


def has_ca_flag(certificate: x509.Certificate) -> bool:
    """True when basicConstraints says CA:TRUE (RFC 5280 section 4.2.1.9)."""
    try:
        return extensions_of(certificate).get_extension_for_class(x509.BasicConstraints).value.ca
    except UNREADABLE:
        return False


def path_length(certificate: x509.Certificate) -> int | None:
    """How many CAs may be below this one; None for no limit. Raises one of `UNREADABLE`."""
    try:
        return extensions_of(certificate).get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


def is_constrained(certificate: x509.Certificate, *, if_unreadable: bool = False) -> bool:
    """True for a CA with name constraints of any kind; `if_unreadable` if its extensions can't be read."""
    try:
        extensions_of(certificate).get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return False
    except UNREADABLE:
        return if_unreadable
    return True


def descends(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    """True if `certificate` is one of `authorities`, or signed by one."""
    return any(certificate == authority or has_issued(authority, certificate) for authority in authorities)
