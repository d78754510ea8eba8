"""Distribution points: in a certificate, and in a revocation list that is of one."""

from __future__ import annotations

from typing import Any

from cryptography import x509


def point(
    *uris: str,
    full: list[x509.GeneralName] | None = None,
    directory: x509.Name | None = None,
    relative: x509.RelativeDistinguishedName | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    crl_issuer: list[x509.GeneralName] | None = None,
) -> x509.DistributionPoint:
    """One point of a certificate, named by URIs, a directory name or a name relative to the issuer's."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris] + (full or [])
    if directory is not None:
        names.append(x509.DirectoryName(directory))
    return x509.DistributionPoint(names or None, relative, reasons, crl_issuer)


def distribution_points(*points: x509.DistributionPoint) -> tuple[x509.ExtensionType, bool]:
    """The extension of a certificate."""
    return x509.CRLDistributionPoints(points), False


def issuing_point(*uris: str, **options: Any) -> tuple[x509.IssuingDistributionPoint, bool]:
    """The extension of a list, with what is asked for and nothing else."""
    values = {
        "full_name": [x509.UniformResourceIdentifier(uri) for uri in uris] or None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**values, **options}), True
