"""Distribution points in certificates and in lists, and delta lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import DAY, NOW, Ca, Leaf


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


def delta(
    ca: Ca,
    base: int,
    number: int | None,
    *,
    named: Iterable[Leaf | x509.Certificate] = (),
    removed: Iterable[Leaf | x509.Certificate] = (),
    scope: tuple[x509.ExtensionType, bool] | None = None,
    last_update: datetime = NOW - DAY,
    next_update: datetime = NOW + DAY,
) -> bytes:
    """A delta list with what changed since the list with the number `base`, PEM."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject).last_update(last_update)
    builder = builder.next_update(next_update).add_extension(x509.DeltaCRLIndicator(base), True)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), False)
    if scope is not None:
        builder = builder.add_extension(*scope)
    for leaf, reason in (
        *((leaf, x509.ReasonFlags.certificate_hold) for leaf in named),
        *((leaf, x509.ReasonFlags.remove_from_crl) for leaf in removed),
    ):
        certificate = leaf.certificate if isinstance(leaf, Leaf) else leaf
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        entry = entry.revocation_date(last_update).add_extension(x509.CRLReason(reason), False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)
