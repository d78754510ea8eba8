"""What a site trusts: its trust anchors, its revocation lists, and whether lists are required.

Keeps true: only the certificates in `client_ca` are anchors, never the system's. A `Trust` never
changes: a reload or a new list makes a new `Trust` with the next generation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509

from gateway.config.model import Site
from gateway.errors import ConfigError, in_one_line
from gateway.redaction import without_secrets
from gateway.tls.outages import Finding, find
from gateway.tls.revocation import CrlPolicy, Revocation
from gateway.x509.authorities import is_ca
from gateway.x509.ca_names import why_none_is_named
from gateway.x509.fields import subject_of
from gateway.x509.files import CertificateFile
from gateway.x509.loading import load_certificates, read_file
from gateway.x509.name_matching import folded
from gateway.x509.names import fingerprint_of
from gateway.x509.paths import Paths
from gateway.x509.revocation_list import RevocationList, parse_lists
from gateway.x509.same_names import too_many_of_one_name

_generations = count(1)


@dataclass(frozen=True, slots=True)
class KnownLists:
    """The lists of one file or URL, and what is wrong with it."""

    lists: tuple[RevocationList, ...] = ()
    problem: str | None = None  # why there are no lists, or why they are not the newest


_NOTHING: Final[Mapping[str, KnownLists]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """What the client certificates of one site are judged by."""

    anchors: tuple[x509.Certificate, ...]
    revocation: Revocation | None = None  # None: no list is configured, so revocation isn't checked
    problems: tuple[str, ...] = ()  # lists that could not be used
    generation: int = field(default_factory=lambda: next(_generations))  # unique and increasing in this process
    paths: Paths = field(init=False, repr=False)
    anchor_fingerprints: frozenset[str] = field(init=False, repr=False)  # SHA-256, lower-case hex

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", Paths(self.anchors))
        object.__setattr__(self, "anchor_fingerprints", frozenset(map(fingerprint_of, self.anchors)))

    @property
    def lists(self) -> tuple[RevocationList, ...]:
        """All lists that were read, whether they are used or not."""
        return () if self.revocation is None else self.revocation.lists

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """What the admin should act on before clients are refused, a line each."""
        found = [*self.problems]
        if line := why_none_is_named(self.anchors):
            found.append(line)
        found += too_many_of_one_name(self.anchors)
        return (*found, *(str(finding) for finding in self._find(now) if not finding.is_outage))

    def outages(self, now: datetime) -> tuple[Finding, ...]:
        """The findings that refuse clients now."""
        return tuple(finding for finding in self._find(now) if finding.is_outage)

    def _find(self, now: datetime) -> Iterator[Finding]:
        return find(self.anchors, self.revocation, now)


def load_trust(site: Site, known: Mapping[str, KnownLists] = _NOTHING) -> Trust:
    """The trust of a site by its `client_ca` and `crl`; see `trust_of`. Raises `ConfigError`."""
    return trust_of(site, anchors_in(site.client_ca), known)


def trust_of(site: Site, anchors: Sequence[x509.Certificate], known: Mapping[str, KnownLists] = _NOTHING) -> Trust:
    """The trust of a site by these anchors and its lists: those in `known`, and files that are not in `known`.

    A fetched list that can't be used is left out and named in `problems`, so that a web server's content can't prevent
    the gateway from starting. Under `require` the certificates of its CA are then refused. Raises `ConfigError` for a
    file that can't be used.
    """
    if not site.crl:
        return Trust(tuple(anchors))
    lists, problems = load_lists(site.crl, known, anchors)
    return Trust(tuple(anchors), Revocation(lists, site.crl_policy), problems)


def make_trust(
    anchors: Sequence[x509.Certificate], lists: Sequence[RevocationList] = (), policy: CrlPolicy | None = None
) -> Trust:
    """A Trust from objects in memory; without a `policy` revocation isn't checked."""
    return Trust(tuple(anchors), None if policy is None else Revocation(lists, policy))


def load_lists(
    sources: Sequence[str], known: Mapping[str, KnownLists], anchors: Sequence[x509.Certificate]
) -> tuple[tuple[RevocationList, ...], tuple[str, ...]]:
    """The lists of these files and URLs, and a line for each that has no list or not its newest.

    A file that is not in `known` is read. Raises `ConfigError` for a file that can't be used.
    """
    lists: list[RevocationList] = []
    problems: list[str] = []
    for source in sources:
        entry = known.get(source) or _unknown(source)
        if entry.problem is not None:
            problems.append(entry.problem)
        try:
            check_signers(entry.lists, anchors)
        except ConfigError as error:
            if not is_url(source):
                raise
            problems.append(error.cause)
        else:
            lists += entry.lists
    return tuple(lists), tuple(problems)


def not_fetched(url: str) -> ConfigError:
    """The error for a revocation list that only its URL is known of."""
    return ConfigError(
        f"{without_secrets(url)}: the revocation list has not been fetched yet",
        "the running gateway fetches it; if that fails, its error log says why and what to do",
    )


def _unknown(source: str) -> KnownLists:
    if is_url(source):
        return KnownLists(problem=in_one_line(not_fetched(source)))
    return KnownLists(parse_lists(read_file(Path(source)), source))


def check_signers(lists: Sequence[RevocationList], anchors: Sequence[x509.Certificate]) -> None:
    """`check_signer` for each of these. Raises `ConfigError`."""
    for entry in lists:
        check_signer(entry, anchors)


def check_signer(entry: RevocationList, anchors: Sequence[x509.Certificate]) -> None:
    """Refuse a list that names an anchor as its issuer but isn't signed by it; others may be an intermediate's."""
    named = [anchor for anchor in anchors if folded(subject_of(anchor)) == folded(entry.issuer)]
    if named and not any(entry.is_signed_by(anchor) for anchor in named):
        raise ConfigError(
            f"{entry.source}: the list says it is from {_name(named[0])}, whose key did not sign it",
            "use the list that this CA signed; if the CA has a new key, publish a new list",
        )


def is_url(source: str) -> bool:
    """True for the URL of a list, False for a file."""
    return source.startswith(("http://", "https://"))


def load_anchors(paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """As `anchors_in`, from files in PEM or DER that are read now. Raises `ConfigError`."""
    return anchors_in([CertificateFile(path, load_certificates(path, takes_der=True)) for path in paths])


def anchors_in(files: Sequence[CertificateFile]) -> tuple[x509.Certificate, ...]:
    """Every CA certificate of these files, each once. Raises `ConfigError` for one that isn't a CA's."""
    anchors: dict[str, x509.Certificate] = {}
    for file in files:
        for certificate in file.certificates:
            if not is_ca(certificate):
                raise ConfigError(
                    f"{file.path}: {_name(certificate)} is not a CA certificate",
                    "name the certificate of the CA that issues client certificates",
                )
            anchors.setdefault(fingerprint_of(certificate), certificate)
    return tuple(anchors.values())


def _name(certificate: x509.Certificate) -> str:
    return repr(subject_of(certificate).rfc4514_string())
