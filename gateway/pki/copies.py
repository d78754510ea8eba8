"""The files of the revocation lists on one machine, kept as new as the registry: what another desk revokes counts here.

Keeps true: a file never goes back to an older list. Where the registry has an older one than the file, as after a
backup was played back, the file stays, and that is told.
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
    """What came of it."""

    written: tuple[str, ...] = ()  # authorities
    failure: OperationError | None = None  # of one file


class Copies:
    """The files of one desk. A file is read only when it has changed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[Path, tuple[Stamp, int]] = {}  # file → what it looked like, the number of its list

    def refresh(self, always: Collection[str]) -> Refreshed:
        """Write what is older than the registry's, for the authorities that have a folder here, and for `always`.

        Raises `OperationError` where the registry can't be read.
        """
        written: list[str] = []
        failure: OperationError | None = None
        for name, number in self._newest():
            file = self._desk.file(name, "crl")
            try:
                if (name in always or file.parent.is_dir()) and self._bring_up(file, name, number):
                    written.append(name)
            except OperationError as error:
                failure = error  # whatever is wrong with one stops no other
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
