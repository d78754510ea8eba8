"""Whom a site trusts: its trust anchors, the revocation lists and how strictly these are asked for.

What this module keeps true: the certificates in `client_ca` are the only anchors, never the system's; a `Trust`
never changes, a reload or a refreshed list makes a new one with the next generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.config.model import Site
from gateway.errors import ConfigError
from gateway.tls.files import load_certificates

_generations = count(1)


@dataclass(frozen=True, slots=True)
class Trust:
    """What client certificates of one site are judged by."""

    anchors: tuple[x509.Certificate, ...]
    crl_policy: Literal["require", "if_present"]
    generation: int  # unique in this process; a cached judgement of another generation doesn't count


def load_trust(site: Site) -> Trust:
    """Read a site's `client_ca` and `crl` files. Raises `ConfigError`."""
    return Trust(load_anchors(site.client_ca), site.crl_policy, next(_generations))


def load_anchors(paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """Every CA certificate of these files, each once. Raises `ConfigError` for one that is no CA's."""
    anchors: dict[bytes, x509.Certificate] = {}
    for path in paths:
        for certificate in load_certificates(path):
            if not is_ca(certificate):
                raise ConfigError(
                    f"{path}: {certificate.subject.rfc4514_string()!r} is no CA certificate",
                    "name the certificate of the CA that issues client certificates",
                )
            anchors.setdefault(certificate.fingerprint(hashes.SHA256()), certificate)
    return tuple(anchors.values())


def is_ca(certificate: x509.Certificate) -> bool:
    """True for a v3 certificate with basicConstraints CA:TRUE, and for a self-issued one of v1 (old roots)."""
    if certificate.version is x509.Version.v1:
        return certificate.issuer == certificate.subject
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
