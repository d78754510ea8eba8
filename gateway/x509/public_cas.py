"""Recognises public CAs, which issue certificates to anybody, and what goes wrong with them at a site.

Roots are recognised by their keys, and the CAs below them by their policies.

A site that trusts public CAs for clients lets in strangers. A site's own certificate from a public CA needs the
intermediate that issued it: such CAs never issue from their roots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.x509.authorities import is_ca
from gateway.x509.fields import extensions_of, issuer_of, subject_of
from gateway.x509.public_roots import DIGEST_CHARACTERS, PUBLIC_ROOTS
from gateway.x509.unreadable import UNREADABLE

# The policies of the CA/Browser Forum. Public CAs have to put them into what they issue, intermediates included, and
# private CAs have no reason to. Roots have none.
_PUBLIC_POLICIES: Final = "2.23.140.1."
# A company and its partners have fewer; the bundle of public CAs of a system has more than fifty.
MAX_ORGANIZATIONS: Final = 10

_NAME_YOURS: Final = "name only the CA that issues your users' certificates"


def is_public(certificate: x509.Certificate) -> bool:
    """Whether it is the root of a public CA, or such a CA issued it."""
    try:
        if _key_digest(certificate) in PUBLIC_ROOTS:
            return True
        policies = extensions_of(certificate).get_extension_for_class(x509.CertificatePolicies).value
        return any(policy.policy_identifier.dotted_string.startswith(_PUBLIC_POLICIES) for policy in policies)
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False


def strangers(anchors: Sequence[x509.Certificate], shown: x509.Certificate | None) -> tuple[str, str] | None:
    """(cause, remedy) if strangers can get certificates of a site's CAs, or none of its users can; else None.

    `shown`: the site's own certificate.
    """
    if shown is not None and shown in anchors and is_ca(shown):  # another one is an error
        return "client_ca names the site's own certificate, not the CA of its users", _NAME_YOURS
    if len(organizations := {_organization(anchor) for anchor in anchors}) > MAX_ORGANIZATIONS:
        cause = f"{len(anchors)} CAs of {len(organizations)} organizations are a bundle of public CAs"
        return f"{cause}: anybody can get a certificate from one of them", _NAME_YOURS
    public = next((anchor for anchor in anchors if is_public(anchor)), None)
    if public is None:
        return None
    name = repr(subject_of(public).rfc4514_string())
    return f"{name} is a public CA, and anybody can get a certificate from it", _NAME_YOURS


def lacks_intermediate(chain: Sequence[x509.Certificate]) -> bool:
    """Whether a site's certificate from a public CA comes without the CA that issued it."""
    return len(chain) == 1 and issuer_of(chain[0]) != subject_of(chain[0]) and is_public(chain[0])


def _key_digest(certificate: x509.Certificate) -> str:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()[:DIGEST_CHARACTERS]


def _organization(ca: x509.Certificate) -> str:
    names = subject_of(ca).get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else ""
