"""Handing out a private key that was kept for recovery, for reading old mail. The audit trail records it."""

from __future__ import annotations

from datetime import datetime

from gateway.errors import UsageError
from gateway.pki import pkcs8
from gateway.pki.desk import Desk
from gateway.pki.issue import event
from gateway.pki.registry import audit
from gateway.pki.registry.records import CertificateRecord


def check(record: CertificateRecord) -> bytes:
    """The encrypted key. Raises `UsageError` if none is kept; for this no passphrase is needed."""
    if record.escrow is None:
        raise UsageError(
            f"no key is kept for certificate {record.serial}", "Give --escrow when you issue or renew a certificate."
        )
    return record.escrow


def recover(desk: Desk, record: CertificateRecord, passphrase: str, now: datetime) -> bytes:
    """The kept key, still encrypted under the authority's passphrase, PEM. Raises `UsageError`."""
    kept = check(record)
    # Only for an admin whose passphrase opens it.
    pkcs8.load(kept, passphrase, f"the key kept for {record.serial}")
    with desk.registry.writing() as connection:
        audit.add(connection, event(desk, record, "key recovered", now))
    return kept
