"""Checks certificate policies on a path: a CA may require that certificates below it have certain policies.

Keeps true: if a CA requires an explicit policy, every certificate below it has one that is valid by
RFC 5280 section 6.1, with any policy acceptable to the gateway; if no CA requires one, nothing is checked. OpenSSL
ignores these extensions, even critical ones, unless it is told which policies are acceptable, and pyOpenSSL has no call
for that.

Of each level of the RFC's tree only the set of policies is kept that the next certificate may have. The nodes' parents
don't matter as long as any policy is acceptable, and a set can't grow as a tree can (CVE-2023-0464).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import CertificatePoliciesOID, ObjectIdentifier

from gateway.x509.der import SEQUENCE, element
from gateway.x509.fields import extensions_of, issuer_of, subject_of

ANY: Final = CertificatePoliciesOID.ANY_POLICY
_MAPPINGS: Final = ObjectIdentifier("2.5.29.33")

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@asn1.sequence
class _Mapping:
    """One pair of policyMappings (section 4.2.1.5)."""

    issuer_domain: ObjectIdentifier
    subject_domain: ObjectIdentifier


@asn1.sequence
class _Wrapped:
    """`asn1` decodes lists only as members."""

    mappings: list[_Mapping]


class _Level:
    """Which policies the next certificate may have, and how many more certificates need none."""

    def __init__(self, length: int) -> None:
        self.expected: set[ObjectIdentifier] = {ANY}
        self.explicit = self.mapping = self.any_policy = length + 1  # counted in certificates that aren't self-issued

    def is_valid(self, certificate: x509.Certificate, *, is_last: bool) -> bool:
        """Process the certificate's policies; False if a policy is required and none is left (6.1.3 d to f)."""
        policies = _policies(certificate)
        takes_any = ANY in policies and (self.any_policy > 0 or (not is_last and _is_self_issued(certificate)))
        if ANY in self.expected:
            kept = policies - {ANY} | (self.expected if takes_any else set())
        else:
            kept = self.expected if takes_any else self.expected & policies
        self.expected = set(kept)
        return self.explicit > 0 or bool(self.expected)

    def prepare(self, ca: x509.Certificate) -> bool:
        """Prepare for the certificate that this CA issued; False if its policyMappings are not allowed (6.1.4)."""
        mappings = _mappings(ca)
        if any(ANY in pair for pair in mappings):
            return False
        mapped = {issuer for issuer, _ in mappings}
        if self.mapping > 0:
            has_any = ANY in self.expected
            targets = {subject for issuer, subject in mappings if has_any or issuer in self.expected}
        else:
            targets = set()
        self.expected = self.expected - mapped | targets
        if not _is_self_issued(ca):
            self.explicit, self.mapping, self.any_policy = (
                max(0, count - 1) for count in (self.explicit, self.mapping, self.any_policy)
            )
        self._constrain(ca)
        return True

    def _constrain(self, ca: x509.Certificate) -> None:
        constraints = _extension(ca, x509.PolicyConstraints)
        if constraints is not None:
            self.explicit = _lower(self.explicit, constraints.require_explicit_policy)
            self.mapping = _lower(self.mapping, constraints.inhibit_policy_mapping)
        inhibit = _extension(ca, x509.InhibitAnyPolicy)
        self.any_policy = _lower(self.any_policy, None if inhibit is None else inhibit.skip_certs)


def check_policies(leaf: x509.Certificate, path: Sequence[x509.Certificate]) -> str | None:
    """One line about the problem with the policies on a verified path; None if there is no problem.

    `path`: from the leaf's issuer to the anchor, whose own extensions are ignored (section 6.1). Raises `ValueError`
    and `cryptography`'s own exceptions for an extension that can't be read.
    """
    level = _Level(len(path))
    for ca in reversed(path[:-1]):
        if not level.is_valid(ca, is_last=False):
            return f"the CA {subject_of(ca).rfc4514_string()!r} has no certificate policy that a CA above it requires"
        if not level.prepare(ca):
            return f"the CA {subject_of(ca).rfc4514_string()!r} maps anyPolicy to another policy, or another to it"
    constraints = _extension(leaf, x509.PolicyConstraints)
    level.explicit = max(0, level.explicit - 1)  # 6.1.5 (a); has no effect on `is_valid` below, because 0 stays 0
    if constraints is not None and constraints.require_explicit_policy == 0:
        level.explicit = 0
    if not level.is_valid(leaf, is_last=True):
        return "the certificate has no certificate policy that a CA above it requires"
    return None


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions_of(certificate).get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _policies(certificate: x509.Certificate) -> set[ObjectIdentifier]:
    found = _extension(certificate, x509.CertificatePolicies)
    return set() if found is None else {information.policy_identifier for information in found}


def _mappings(ca: x509.Certificate) -> list[tuple[ObjectIdentifier, ObjectIdentifier]]:
    try:
        extension = extensions_of(ca).get_extension_for_oid(_MAPPINGS).value
    except x509.ExtensionNotFound:
        return []
    assert isinstance(extension, x509.UnrecognizedExtension)  # noqa: S101 - `cryptography` has no class for it
    found = asn1.decode_der(_Wrapped, element(SEQUENCE, extension.value)).mappings
    return [(pair.issuer_domain, pair.subject_domain) for pair in found]


def _is_self_issued(certificate: x509.Certificate) -> bool:
    return subject_of(certificate) == issuer_of(certificate)


def _lower(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)
