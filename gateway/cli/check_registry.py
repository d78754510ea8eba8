"""What `gateway check` asks of the registry: whether the authorities that the gateway shall keep are there and open.

And whether a site trusts one that was revoked. A CA in `client_ca` is trusted whatever a list above it says.

Nothing is made or changed: a registry that is not there yet, or does not answer now, is told as a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.access import exists
from gateway.config.model import KeptAuthority, Pki, Site
from gateway.config.problems import Mark, Place, Problem
from gateway.errors import GatewayError, OperationError
from gateway.pki.authority import path_of, unlock
from gateway.pki.desk import Desk
from gateway.pki.files import read_secret
from gateway.pki.registry import authorities
from gateway.pki.registry.engine import Registry
from gateway.pki.taken_back import is_revoked


def registry_problems(pki: Pki, sites: Sequence[Site], file: str) -> Iterator[Problem]:
    """A problem for each authority that could not be kept or is revoked and trusted; `file` as the user named it."""
    try:
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
        place = Place(Mark(pki.authorities[0].line, 1), "pki.authorities")
        yield Problem(file, place, error.cause, error.remedy, is_warning=True)


def _trusted(revoked: Mapping[bytes, str], sites: Sequence[Site], file: str) -> Iterator[Problem]:
    for index, site in enumerate(sites):
        for ca in (ca for each in site.client_ca for ca in each.certificates):
            name = revoked.get(ca.public_bytes(Encoding.DER))
            if name is not None:
                cause = f"the authority '{name}' was revoked, and this site lets in whom it signed"
                place = Place(Mark(site.line, 1), f"sites[{index}].client_ca")
                yield Problem(file, place, cause, "put another authority's in its place", is_warning=True)


def _problems(desk: Desk, kept: KeptAuthority, known: list[str], file: str) -> Iterator[Problem]:
    place = Place(Mark(kept.line, 1), f"pki.authorities.{kept.name}")
    if kept.name not in known:
        there = f"there are {', '.join(known)}" if known else "make it with 'gateway ca init'"
        yield Problem(file, place, f"the registry has no authority '{kept.name}'", there)
        return
    if not exists(kept.passphrase_file):
        return  # told where the file is named
    remedy = f"write the passphrase of '{kept.name}' into {kept.passphrase_file}"
    try:
        unlock(desk, kept.name, read_secret(kept.passphrase_file), remedy)
    except GatewayError as error:
        yield Problem(file, place, error.cause, _clause(error.remedy))


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].removesuffix(".")
