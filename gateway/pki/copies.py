"""The files of the revocation lists on one machine, kept as new as the registry, which has other desks' lists too.

A file is never replaced by an older list. If the registry's list is older than the file, as after a restore from a
backup, the file stays, and that is reported.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from gateway.errors import OperationError
from gateway.pki import crl
from gateway.pki.desk import Desk
from gateway.pki.files import make_folder
from gateway.pki.registry.tables import AUTHORITIES
from gateway.stamps import Stamp, stamp_of


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The result of a refresh."""

    written: tuple[str, ...] = ()  # the authorities whose files were written
    failure: OperationError | None = None  # the last file's that could not be written


class Copies:
    """The files of one desk. A file is read only when it has changed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[Path, tuple[Stamp, int]] = {}  # file → its stamp when it was read, its list's number

    def refresh(self, always: Collection[str]) -> Refreshed:
        """Write the files that are older than the registry's lists.

        Only for the authorities that have a folder on this machine, and for those in `always`. Raises `OperationError`
        if the registry can't be read.
        """
        written: list[str] = []
        failure: OperationError | None = None
        for name, number in self._newest():
            file = self._desk.file(name, "crl")
            try:
                if (name in always or file.parent.is_dir()) and self._bring_up(file, name, number):
                    written.append(name)
            except OperationError as error:
                failure = error  # the other files are refreshed all the same
        return Refreshed(tuple(written), failure)

    def _newest(self) -> list[tuple[str, int]]:
        query = select(AUTHORITIES.c.name, AUTHORITIES.c.crl_number).where(AUTHORITIES.c.crl_der.is_not(None))
        with self._desk.registry.reading() as connection:
            return [(name, number) for name, number in connection.execute(query)]

    def _bring_up(self, file: Path, name: str, number: int) -> bool:
        stamp = stamp_of(file)
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            known = self._known[file] = stamp, crl.number_in(file)
        if known[1] == number:
            return False
        crl.check_not_newer(file, known[1], number)
        make_folder(file.parent)
        crl.publish(self._desk, name)
        return True
