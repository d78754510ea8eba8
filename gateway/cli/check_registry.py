"""What `gateway check` asks of the registry: whether the authorities that the gateway shall keep are there and open.

Nothing is made or changed: a registry that is not there yet, or does not answer now, is told as a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.model import KeptAuthority, Pki
from gateway.config.problems import Mark, Place, Problem
from gateway.errors import GatewayError, OperationError
from gateway.pki.authority import unlock
from gateway.pki.desk import Desk
from gateway.pki.files import read_secret
from gateway.pki.registry import authorities
from gateway.pki.registry.engine import Registry


def registry_problems(pki: Pki, file: str) -> Iterator[Problem]:
    """A problem for each authority that could not be kept, where there is one; `file` as the user named it."""
    try:
        with Registry.open_for_reading(pki.store) as registry:
            with registry.reading() as connection:
                known = [record.name for record in authorities.all_of(connection)]
            for kept in pki.authorities:
                yield from _problems(Desk(registry, pki.folder, "check"), kept, known, file)
    except OperationError as error:
        place = Place(Mark(pki.authorities[0].line, 1), "pki.authorities")
        yield Problem(file, place, error.cause, error.remedy, is_warning=True)


def _problems(desk: Desk, kept: KeptAuthority, known: list[str], file: str) -> Iterator[Problem]:
    place = Place(Mark(kept.line, 1), f"pki.authorities.{kept.name}")
    if kept.name not in known:
        there = f"there are {', '.join(known)}" if known else "make it with 'gateway ca init'"
        yield Problem(file, place, f"the registry has no authority '{kept.name}'", there)
        return
    try:
        unlock(desk, kept.name, read_secret(kept.passphrase_file))
    except GatewayError as error:
        yield Problem(file, place, error.cause, error.remedy)
