"""A certificate desk for tests: a registry, a folder, and authorities with quick keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.pki import authority, batch, crl, issue
from gateway.pki.desk import Desk
from gateway.pki.keys import PrivateKey, make
from gateway.pki.registry import certificates
from gateway.pki.registry.engine import Registry
from gateway.pki.registry.records import CertificateRecord
from gateway.pki.words import KeyKind

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
PASSPHRASE = "correct horse battery"


@dataclass
class Files:
    """A `deliver` that keeps what it was given."""

    issued: list[issue.Issued] = field(default_factory=list)

    def __call__(self, issued: issue.Issued) -> None:
        self.issued.append(issued)


def open_desk(folder: Path, url: str | None = None, actor: str = "tester") -> Desk:
    """A desk over SQLite in `folder`, or over the database at `url`."""
    return Desk(Registry.open(url or "sqlite:///pki/registry.db", folder), folder / "pki", actor)


def make_authority(desk: Desk, name: str = "corp", *, now: datetime = NOW, **options) -> authority.Authority:
    """An authority with a P-256 key and its first revocation list."""
    parent = options.pop("parent", None)
    plan = authority.Plan(name=name, **{"kind": KeyKind.ECDSA_P256, **options})
    made = authority.create(desk, plan, PASSPHRASE, now, parent)
    crl.renew(desk, made, now)
    return made


def issue_to(
    desk: Desk,
    signer: authority.Authority,
    email: str = "alice@example.com",
    name: str | None = None,
    *,
    key: PrivateKey | None = None,
    now: datetime = NOW,
    **options,
) -> issue.Issued:
    """A live certificate for a person."""
    order = issue.Order.of_person(email, name, **options)
    return issue.issue(desk, signer, order, key or make(KeyKind.ECDSA_P256), now, Files())


def import_users(
    desk: Desk,
    signer: authority.Authority,
    wanted: batch.Batch,
    now: Callable[[], datetime],
    progress: batch.Progress = lambda _done, _total: None,
) -> batch.Outcome:
    """Import a list of users, as `gateway cert import` does."""
    with batch.checked(desk, signer, wanted, now()) as ready:
        return batch.run(ready, signer, now, progress)


def reload(desk: Desk, record: CertificateRecord) -> CertificateRecord:
    """The record as the registry has it now."""
    with desk.registry.reading() as connection:
        return certificates.get(connection, record.authority, record.serial)
