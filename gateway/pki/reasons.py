"""Reasons for revocation, between the desk's words and X.509's codes (RFC 5280 section 5.3.1)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from cryptography import x509

from gateway.pki.registry.records import RevocationReason

FLAGS: Final = MappingProxyType(
    {
        RevocationReason.UNSPECIFIED: x509.ReasonFlags.unspecified,
        RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
        RevocationReason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
        RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
        RevocationReason.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
        RevocationReason.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
        RevocationReason.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
    }
)
_REASONS: Final = MappingProxyType({flag: reason for reason, flag in FLAGS.items()})


def reason_of(entry: x509.RevokedCertificate) -> RevocationReason:
    """The reason of a list's entry; a reason that the desk does not know counts as unspecified."""
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return RevocationReason.UNSPECIFIED
    return _REASONS.get(flag, RevocationReason.UNSPECIFIED)
