"""Authorities that are on the revocation list of one above them: the certificates that they signed are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select

from gateway.pki.registry import authorities
from gateway.pki.registry.records import ListEntry
from gateway.pki.registry.tables import AUTHORITIES
from gateway.x509.fields import subject_of
from gateway.x509.serials import serial_text


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A list's entry for an authority."""

    subject: str  # of the authority that is on the list, RFC 4514
    issuer: str  # of the authority whose list it is
    entry: ListEntry


def is_revoked(connection: Connection, path: Sequence[x509.Certificate]) -> bool:
    """Whether an authority in `path`, as in `taken_back`, is revoked for good, not only on hold."""
    found = taken_back(connection, path)
    return found is not None and not found.entry.is_hold


def taken_back(connection: Connection, path: Sequence[x509.Certificate]) -> TakenBack | None:
    """The first entry for a certificate in `path`: an authority's certificate and those above it, nearest first."""
    for below, above in pairwise(path):
        der = above.public_bytes(Encoding.DER)
        serial = serial_text(below.serial_number)
        for id_ in connection.execute(select(AUTHORITIES.c.id).where(AUTHORITIES.c.certificate_der == der)).scalars():
            if (entry := authorities.foreign_entry(connection, id_, serial)) is not None:
                return TakenBack(subject_of(below).rfc4514_string(), subject_of(above).rfc4514_string(), entry)
    return None
