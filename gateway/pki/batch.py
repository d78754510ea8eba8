"""Certificates for a list of users. All rows are checked before the first key is made; a second run makes only what is
missing. After a crash, no certificate is valid whose file and password are not on the disk.

The steps for each user: make the key, sign the certificate, register it as pending, append its line to `passwords.csv`,
write the p12 file, make the certificate live. The folder is locked while an import runs in it. So a pending certificate
of this folder was left by a crash.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from sqlalchemy import select

from gateway.errors import OperationError, UsageError
from gateway.pki import constraints, crl, csv_users, handout, issue, key_pool, logins, passwords, uses
from gateway.pki.authority import Authority, LockedAuthority, check_not_revoked
from gateway.pki.csv_users import UserRow
from gateway.pki.delivery import free_stem, p12_of
from gateway.pki.desk import Desk
from gateway.pki.file_names import file_stem
from gateway.pki.files import PRIVATE_MODE, make_folder, read, write_private
from gateway.pki.keys import PrivateKey
from gateway.pki.merge_list import MergeLine
from gateway.pki.names import check_text, name_key
from gateway.pki.password_list import PasswordLine, PasswordList
from gateway.pki.registry import certificates, revoked_people
from gateway.pki.registry.records import CertificateRecord, Purpose, State
from gateway.pki.registry.tables import AUDIT, AUTHORITIES, CERTIFICATES, NAME_CLAIMS
from gateway.pki.words import CodePage, KeyKind, P12Format

OUT_FOLDER_MODE: Final = 0o700
_RUN_FILE: Final = ".import"
_RUN_ID_CHARACTERS: Final = 32
PASSWORDS_FILE: Final = "passwords.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What to import and how."""

    csv_file: Path
    out: Path
    kind: KeyKind = KeyKind.RSA_2048
    p12_format: P12Format = P12Format.COMPAT
    processes: int | None = None  # None: one for each core
    reissues_revoked: bool = False  # also for people whose latest certificates were revoked
    code_page: CodePage | None = None  # None: it is detected
    kits: handout.Kits | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many certificates were made, how many already existed, and notes for the admin about the file."""

    issued: int
    present: int
    notes: tuple[str, ...] = ()
    handed_out: handout.Made = field(default_factory=handout.Made)


Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True, slots=True)
class Ready:
    """An import that was checked before the passphrase is asked for. Its folder is locked."""

    desk: Desk
    batch: Batch
    run_id: str
    users: csv_users.Users
    list_: PasswordList
    earlier: list[MergeLine]  # lines of earlier runs that stay on the list of kits


@contextmanager
def checked(desk: Desk, authority: LockedAuthority, batch: Batch, now: datetime) -> Iterator[Ready]:
    """Check everything that `run` could refuse before the passphrase is asked for, and lock the folder.

    Raises `CsvError` with all mistakes in the list of users, `UsageError`, `OperationError`.
    """
    uses.check(authority.path, Purpose.CLIENT, authority.record.parent)
    check_not_revoked(desk, authority.path)
    make_folder(batch.out, OUT_FOLDER_MODE)
    with _locked(batch.out) as run_id:
        check = _row_check(desk, authority, batch, run_id, now)
        users = csv_users.parse(read(batch.csv_file), str(batch.csv_file), check, batch.code_page)
        list_ = PasswordList(batch.out / PASSWORDS_FILE, users.dialect)
        list_.lines()  # raises for a file of another program
        earlier = [] if batch.kits is None else handout.earlier(batch.out, authority.name, _lasting(desk, now))
        yield Ready(desk, batch, run_id, users, list_, earlier)


def run(ready: Ready, authority: Authority, now: Callable[[], datetime], progress: Progress) -> Outcome:
    """Import. Raises `OperationError` if it can't continue."""
    desk, batch, users, list_ = ready.desk, ready.batch, ready.users, ready.list_
    rows, run_id = users.rows, ready.run_id
    with desk.registry.kept_open():
        began = now()
        _clear_up(desk, authority, run_id, list_, began)
        present = _holders(desk, authority, began)
        # A pending one was left by another run some time ago; issuing a new one takes the name from it.
        there = {name for name, record in present.items() if record.state is not State.PENDING}
        missing = [row for row in rows if name_key(row.common_name) not in there]
        written: dict[str, bytes] = {}
        progress(0, len(missing))
        with key_pool.keys(batch.kind, len(missing), batch.processes) as made:
            for done, (row, key) in enumerate(zip(missing, made, strict=True), 1):
                _issue(desk, authority, (batch, list_, written), (row, key, run_id), now())
                progress(done, len(missing))
        handed_out = handout.Made()
        if batch.kits is not None:
            holders = _holders(desk, authority, began)
            mine = [holders[name_key(row.common_name)] for row in rows]
            handed_out = handout.make(batch.kits, list_, authority.path, mine, written, ready.earlier)
    return Outcome(len(missing), len(rows) - len(missing), users.notes, handed_out)


def _issue(
    desk: Desk,
    authority: Authority,
    order: tuple[Batch, PasswordList, dict[str, bytes]],
    what: tuple[UserRow, PrivateKey, str],
    now: datetime,
) -> None:
    batch, list_, written = order
    row, key, run_id = what
    format_ = row.p12_format or batch.p12_format

    def deliver(issued: issue.Issued) -> None:
        record = issued.record
        password = passwords.make()
        path = batch.out / f"{free_stem(batch.out, file_stem(row.email, row.device), issued, ['p12'])}.p12"
        # The password's line comes first: after a crash it names the file that has to be removed.
        line = PasswordLine(row.email, record.common_name, path.name, password, record.serial)
        list_.add(line)
        data = p12_of(issued, key, password, format_)
        write_private(path, data)
        written[record.serial] = handout.digest(data)

    issue.issue(desk, authority, replace(_order(row), p12_format=format_, run=run_id), key, now, deliver)


def _order(row: UserRow) -> issue.Order:
    return issue.Order.of_person(
        row.email, row.name, department=row.department, upn=row.upn, days=row.days, device=row.device
    )


def _clear_up(desk: Desk, authority: Authority, run_id: str, list_: PasswordList, now: datetime) -> None:
    """Remove what a killed or interrupted import left: certificates, their files and passwords.

    Such a certificate may already be revoked: any new list of the authority does that.
    """
    issued = select(AUDIT.c.serial).where(AUDIT.c.action == "issued", AUDIT.c.authority == authority.name)
    with desk.registry.reading() as connection:
        left = certificates.find(
            connection,
            AUTHORITIES.c.id == authority.record.id,
            CERTIFICATES.c.run == run_id,
            CERTIFICATES.c.state.in_((State.PENDING.value, State.REVOKED.value)),
            CERTIFICATES.c.serial.not_in(issued),
        )
    if pending := [record for record in left if record.state is State.PENDING]:
        issue.abandon(desk, authority, pending, now)
    serials = {record.serial for record in left}
    out = list_.path.parent
    try:
        for line in list_.lines():
            if line.serial in serials:
                (out / Path(line.file).name).unlink(missing_ok=True)
        for half in out.glob(".*.tmp"):
            half.unlink(missing_ok=True)
    except OSError as error:
        cause = f"{out}: the files of an interrupted import cannot be removed: {error.strerror}"
        raise OperationError(cause, "Run this as the user that owns the folder.") from error
    list_.begin(serials)


def _row_check(desk: Desk, authority: LockedAuthority, batch: Batch, run_id: str, now: datetime) -> csv_users.RowCheck:
    holders = _holders(desk, authority, now)
    with desk.registry.reading() as connection:
        known = logins.registered(connection, now)
        revoked = revoked_people.registered(connection, now)

    def check(row: UserRow) -> Iterator[tuple[str, UsageError]]:
        for column, tried in (
            ("email", partial(constraints.check, authority.path, email=row.email)),
            ("upn", partial(constraints.check, authority.path, upn=row.upn)),
            ("name", partial(constraints.check, authority.path, common_name=row.common_name)),
            ("name", partial(check_text, row.common_name, "name with its device")),
            ("name", partial(known.check_name, row.common_name, email=row.email, upn=row.upn)),
            ("upn", partial(known.check_upn, row.upn, email=row.email)),
            ("days", partial(issue.validity, authority, row.days, now)),
        ):
            try:
                tried()
            except UsageError as error:
                yield column, error
        holder = holders.get(name_key(row.common_name))
        if holder is not None and not _is_its_own(holder, row):
            cause = f"the name '{row.common_name}' is in use by {holder.email}, certificate {holder.serial}"
            remedy = f"Write a different name, or run 'gateway cert revoke {holder.serial}' first."
            yield "name", UsageError(cause, remedy)
        elif holder is not None and _is_being_made(holder, run_id, now):
            cause = f"certificate {holder.serial} for '{row.common_name}' is being made by another run"
            remedy = f"Wait until that run has ended. If it was killed, run 'gateway cert revoke {holder.serial}'."
            yield "name", UsageError(cause, remedy)
        elif holder is None and not batch.reissues_revoked:
            try:
                revoked.check(row.email, row.device, Purpose.CLIENT)
            except UsageError as error:
                yield "email", error

    return check


def _is_its_own(holder: CertificateRecord, row: UserRow) -> bool:
    return holder.purpose is Purpose.CLIENT and (holder.email or "").lower() == row.email.lower()


def _is_being_made(holder: CertificateRecord, run_id: str, now: datetime) -> bool:
    return holder.state is State.PENDING and holder.run != run_id and holder.created_at >= now - crl.PENDING_LEASE


def _holders(desk: Desk, authority: LockedAuthority, now: datetime) -> dict[str, CertificateRecord]:
    """The certificates that hold a common name, by the name's key."""
    with desk.registry.reading() as connection:
        found = certificates.find(
            connection,
            AUTHORITIES.c.id == authority.record.id,
            CERTIFICATES.c.not_after >= now,
            CERTIFICATES.c.id.in_(select(NAME_CLAIMS.c.certificate_id)),
        )
    return {name_key(record.common_name): record for record in found}


def _lasting(desk: Desk, now: datetime) -> dict[str, str]:
    with desk.registry.reading() as connection:
        return certificates.lasting(connection, now)


@contextmanager
def _locked(folder: Path) -> Iterator[str]:
    """Lock the folder against other imports, those on other machines too; yields the folder's id."""
    path = folder / _RUN_FILE
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE), "r+")
    except OSError as error:
        raise OperationError(f"{path}: cannot be opened: {error.strerror}", "Name another --out folder.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OperationError(
                f"another import is running in {folder}", "Wait until it has ended, or name another --out folder."
            ) from error
        run_id = file.read(_RUN_ID_CHARACTERS)
        if len(run_id) < _RUN_ID_CHARACTERS:
            run_id = uuid4().hex
            file.seek(0)
            file.write(run_id)
            file.flush()
            os.fsync(file.fileno())
        yield run_id
