"""What the certificate registry says about the certificates of a person. It is only read.

A registry that can't be opened is no error: the log explains most refusals without it, and the answer says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gateway.access import exists
from gateway.cli.why.lines import plain_name, words_of
from gateway.cli.why.words import first_line
from gateway.errors import GatewayError

STORE_VARIABLE: Final = "GATEWAY_PKI_STORE"
MAX_CERTIFICATES: Final = 50  # of one person
_NOT_ASCII: Final = re.compile(r"[^ -~]+")  # with what is combined with the letter before it
_DEFAULT_STORE: Final = "sqlite:///pki/registry.db"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate in the registry."""

    serial: str
    fingerprint: str
    authority: str
    name: str
    email: str | None
    device: str | None
    is_client: bool
    status: str  # live, expired, superseded, held, revoked, pending
    begins: datetime
    ends: datetime
    created: datetime
    superseded: datetime | None  # when its successor takes over
    revoked: datetime | None
    reason: str | None
    renews: str | None  # the serial of its predecessor
    revoked_by: str | None = None  # who did it, from the audit trail

    @property
    def holder(self) -> str:
        """The person, as lines of the log name her."""
        return plain_name(self.email or self.name)


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of the registry."""

    name: str
    subject: str  # RFC 4514
    ends: datetime
    list_ends: datetime | None
    is_revoked: bool
    is_root: bool = True  # signed by itself, so no intermediate can be missing


@dataclass(slots=True)
class Registry:
    """What was found. `problem`: why the registry could not be asked."""

    problem: str | None = None
    authorities: list[Authority] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)  # of the person, the newest last

    @property
    def is_known(self) -> bool:
        """Whether it has authorities, so that a missing certificate means something."""
        return self.problem is None and bool(self.authorities)

    def certificate(self, fingerprint: str | None) -> Certificate | None:
        """The certificate with this fingerprint."""
        return next((each for each in self.certificates if each.fingerprint == fingerprint), None)

    def renewal(self, of: Certificate) -> Certificate | None:
        """The newest renewal of a certificate, through several renewals, valid or not."""
        newest, serial = None, of.serial
        for each in self.certificates:  # oldest first, and a renewal is younger
            if each.renews == serial and each.authority == of.authority:
                newest, serial = each, each.serial
        return newest

    def successor(self, of: Certificate) -> Certificate | None:
        """The newest renewal if the person can log in with it."""
        newest = self.renewal(of)
        return newest if newest is not None and newest.status == "live" else None

    def usable(self) -> list[Certificate]:
        """Those with which the person can log in."""
        return [each for each in self.certificates if each.status == "live" and each.is_client]

    def authority_of(self, subject: str | None) -> Authority | None:
        """The authority with this subject."""
        return next((each for each in self.authorities if subject is not None and each.subject == subject), None)


class Asker:
    """Asks one registry, several times."""

    def __init__(self, store: str | None, config: Path | None, now: datetime) -> None:
        self._now = now
        self.store: str | None = None  # as an option or the configuration names it
        self.problem: str | None = None
        self.is_default = False
        self._folder = Path.cwd()
        try:
            self.store = self._store(store, config)
        except GatewayError as error:
            self.problem = first_line(error)

    def _store(self, store: str | None, config: Path | None) -> str | None:
        if store is not None:
            return store
        if config is not None:
            from gateway.config.load import read_pki  # noqa: PLC0415 - heavy, see app

            if (pki := read_pki(config)) is not None:
                return pki.store
        if (named := os.environ.get(STORE_VARIABLE)) is not None:
            return named
        for folder in (Path.cwd(), *(() if config is None else (config.absolute().parent,))):
            if exists(folder / "pki" / "registry.db"):
                self._folder, self.is_default = folder, True
                return _DEFAULT_STORE
        self.problem = "no registry was named (-c FILE or --store URL), and there is no pki/registry.db"
        return None

    def find(self, names: Iterable[str], numbers: Iterable[str] = ()) -> Registry:
        """The certificates with these names (address, CN, UPN, device) or serials and fingerprints."""
        wanted = {plain_name(name) for name in names if name}
        found = Registry()

        def read(connection: Any) -> None:
            nonlocal found
            found = _read(connection, wanted, set(numbers), self._now)

        problem = self._ask(read)
        return found if problem is None else Registry(problem)

    def similar(self, text: str) -> dict[str, str]:
        """Holders of certificates that have all words of this text in their name, with the name."""
        wanted = words_of(text)
        found: dict[str, str] = {}

        def read(connection: Any) -> None:
            found.update(_similar(connection, wanted))

        if wanted:
            self._ask(read)
        return found

    def _ask(self, read: Callable[[Any], None]) -> str | None:
        """Read with a connection. Returns why that is not possible."""
        if self.store is None:
            return self.problem
        from gateway.pki.registry.engine import Registry as Database  # noqa: PLC0415 - heavy, see app
        from gateway.pki.registry.engine import locate  # noqa: PLC0415 - the same

        try:
            url = locate(self.store, self._folder)
            if url.drivername == "sqlite" and not exists(Path(str(url.database))):
                return f"{url.database}: there is no registry, or this user can't reach it"
            with (
                Database.open_for_reading(self.store, self._folder) as database,
                database.reading() as connection,
            ):
                read(connection)
        except GatewayError as error:
            return first_line(error)
        return None


def _read(connection: Any, names: set[str], numbers: set[str], now: datetime) -> Registry:
    from sqlalchemy import func, or_  # noqa: PLC0415 - heavy, see app

    from gateway.pki.authority import path_of  # noqa: PLC0415 - the same
    from gateway.pki.registry import audit, authorities, certificates  # noqa: PLC0415 - the same
    from gateway.pki.registry.tables import CERTIFICATES  # noqa: PLC0415 - the same
    from gateway.pki.taken_back import is_revoked  # noqa: PLC0415 - the same
    from gateway.x509.loading import certificate_in  # noqa: PLC0415 - the same

    column = CERTIFICATES.c
    bare = [name for name in names if "@" not in name and name]
    meant = [func.lower(each).in_(names) for each in (column.email, column.common_name, column.upn, column.device)]
    meant += [func.lower(column.email).like(f"{_escaped(name)}@%", escape="\\") for name in bare]
    meant += [column.serial.in_(numbers), column.fingerprint.in_(numbers)]
    found = certificates.find(connection, or_(*meant), limit=MAX_CERTIFICATES) if names or numbers else []
    found += [each for each in _with_letters(connection, names) if each.id not in {record.id for record in found}]
    known = {record.id for record in found}
    serials = {record.serial for record in found} | {record.renews for record in found if record.renews}
    if serials:  # renewals have the same names, but the device may be asked for by its serial
        related = certificates.find(
            connection, or_(column.renews.in_(serials), column.serial.in_(serials)), limit=MAX_CERTIFICATES
        )
        found += [record for record in related if record.id not in known]
    trails = {
        record.serial: audit.entries(connection, serial=record.serial)
        for record in found
        if record.revoked_at is not None
    }
    return Registry(
        authorities=[
            Authority(
                record.name,
                (made := certificate_in(record.certificate_der)).subject.rfc4514_string(),
                record.not_after,
                record.crl_next_update,
                is_revoked(connection, path_of(record)),
                is_root=made.subject == made.issuer,
            )
            for record in authorities.all_of(connection)
        ],
        certificates=[
            Certificate(
                serial=record.serial,
                fingerprint=record.fingerprint,
                authority=record.authority,
                name=record.common_name,
                email=record.email,
                device=record.device,
                is_client=record.purpose in ("client", "auth"),
                status=record.status(now),
                begins=record.not_before,
                ends=record.not_after,
                created=record.created_at,
                superseded=record.supersede_at,
                revoked=record.revoked_at,
                reason=record.reason,
                renews=record.renews,
                revoked_by=next(
                    (
                        entry.actor
                        for entry in reversed(trails.get(record.serial, []))
                        if entry.action in ("revoked", "held")
                    ),
                    None,
                ),
            )
            for record in sorted(found, key=lambda each: each.id)
        ],
    )


def _similar(connection: Any, words: set[str]) -> dict[str, str]:
    from sqlalchemy import and_, func, or_  # noqa: PLC0415 - heavy, see app

    from gateway.pki.registry import certificates  # noqa: PLC0415 - the same
    from gateway.pki.registry.tables import CERTIFICATES  # noqa: PLC0415 - the same

    column = CERTIFICATES.c
    patterns = [f"%{_NOT_ASCII.sub('%', _escaped(word))}%" for word in words]
    meant = [
        and_(*(func.lower(each).like(pattern, escape="\\") for pattern in patterns))
        for each in (column.email, column.common_name)
    ]
    found: dict[str, str] = {}
    for record in certificates.find(connection, or_(*meant), limit=MAX_CERTIFICATES):
        longer = next((name for name in (record.common_name, record.email) if name and words <= words_of(name)), None)
        if longer is not None:
            found.setdefault(plain_name(record.email or record.common_name), longer)
    return found


def _with_letters(connection: Any, names: set[str]) -> list[Any]:
    """The certificates with names that have letters outside ASCII. SQLite's lower() leaves these as they are."""
    from sqlalchemy import func, or_  # noqa: PLC0415 - heavy, see app

    from gateway.pki.registry import certificates  # noqa: PLC0415 - the same
    from gateway.pki.registry.tables import CERTIFICATES  # noqa: PLC0415 - the same

    column = CERTIFICATES.c
    columns = (column.email, column.common_name, column.upn, column.device)
    patterns = {_NOT_ASCII.sub("%", _escaped(name)) for name in names if not name.isascii()} - {"%"}
    meant = [func.lower(each).like(pattern, escape="\\") for pattern in patterns for each in columns]
    found = certificates.find(connection, or_(*meant), limit=MAX_CERTIFICATES) if meant else []
    return [
        record
        for record in found
        if not names.isdisjoint(
            plain_name(text) for text in (record.email, record.common_name, record.upn, record.device) if text
        )
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
