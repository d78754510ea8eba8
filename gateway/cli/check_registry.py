"""The checks of the registry for `gateway check`.

Each authority in `pki.authorities` must exist, and its passphrase file must open its key. Its published list must not
be newer than the registry, which was then restored from a backup. No site should trust an authority that was revoked: a
CA in `client_ca` is trusted even if a list of the CA above revokes it.

Nothing is made or changed. A registry that doesn't exist yet or doesn't answer is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.access import exists
from gateway.commands import at_desk
from gateway.config.model import KeptAuthority, Pki, Site
from gateway.config.problems import Mark, Place, Problem
from gateway.errors import GatewayError, OperationError, as_clause
from gateway.pki import crl
from gateway.pki.authority import path_of, unlock
from gateway.pki.desk import Desk
from gateway.pki.files import read_secret
from gateway.pki.registry import authorities
from gateway.pki.registry.engine import Registry, locate
from gateway.pki.taken_back import is_revoked


def registry_problems(pki: Pki, sites: Sequence[Site], file: str) -> Iterator[Problem]:
    """A problem for each authority that can't be used, or is revoked but trusted; `file` as the user named it."""
    first = pki.authorities[0] if pki.authorities else None  # without one, nothing here needs the registry
    try:
        url = locate(pki.store)
        if url.drivername == "sqlite" and not exists(Path(str(url.database))):
            cause = f"{url.database}: there is no registry yet, or this user can't reach it"
            if first is not None:
                yield Problem(file, _place(first), cause, _make(file, first.name), is_warning=True)
            return
        with Registry.open_for_reading(pki.store) as registry:
            with registry.reading() as connection:
                records = authorities.all_of(connection)
                known = [record.name for record in records]
                revoked = {
                    record.certificate_der: record.name for record in records if is_revoked(connection, path_of(record))
                }
            yield from _trusted(revoked, sites, file)
            for kept in pki.authorities:
                yield from _problems(Desk(registry, pki.folder, "check"), kept, known, file)
    except OperationError as error:
        if first is not None:
            yield Problem(file, _place(first), error.cause, as_clause(error.remedy), is_warning=True)


def _place(first: KeptAuthority) -> Place:
    return Place(Mark(first.line, 1), "pki.authorities")


def _trusted(revoked: Mapping[bytes, str], sites: Sequence[Site], file: str) -> Iterator[Problem]:
    for index, site in enumerate(sites):
        for ca in (ca for each in site.client_ca for ca in each.certificates):
            name = revoked.get(ca.public_bytes(Encoding.DER))
            if name is not None:
                cause = f"the authority '{name}' was revoked, but this site still accepts its certificates"
                place = Place(Mark(site.line, 1), f"sites[{index}].client_ca")
                yield Problem(file, place, cause, "name another authority's certificate instead", is_warning=True)


def _problems(desk: Desk, kept: KeptAuthority, known: list[str], file: str) -> Iterator[Problem]:
    place = Place(Mark(kept.line, 1), f"pki.authorities.{kept.name}")
    if kept.name not in known:
        there = f"name one of these: {', '.join(known)}" if known else _make(file, kept.name)
        yield Problem(file, place, f"the registry has no authority '{kept.name}'", there)
        return
    if not exists(kept.passphrase_file):
        return  # reported at the key that names the file
    remedy = f"write the passphrase of '{kept.name}' into {kept.passphrase_file}"
    try:
        unlock(desk, kept.name, read_secret(kept.passphrase_file), remedy)
    except GatewayError as error:
        yield Problem(file, place, error.cause, as_clause(error.remedy))
    try:
        crl.check_published(desk, kept.name)
    except OperationError as error:
        remedy = as_clause(at_desk(error.remedy, f" -c {quote(file)}"))
        yield Problem(file, place, error.cause, remedy, is_warning=True)


def _make(file: str, name: str) -> str:
    return f"run gateway ca -c {quote(file)} init {name}"
