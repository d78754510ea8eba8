"""Authorities: creating one, registering one, and unlocking one to sign.

The encrypted key is written before the authority is registered, so every registered authority has its key. The name
constraints of an authority and of those above it are checked before it signs anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.access import exists
from gateway.errors import OperationError, UsageError
from gateway.pki import constraints, hosts, keys, pkcs8, profiles, uses
from gateway.pki.desk import Desk
from gateway.pki.files import make_folder, read, write_new_private, write_public
from gateway.pki.names import check_authority_name, check_domain, check_http_url, check_text
from gateway.pki.registry import audit, authorities
from gateway.pki.registry.records import AuthorityRecord, ListEntry, Purpose
from gateway.pki.taken_back import taken_back
from gateway.pki.words import KeyKind, Signs
from gateway.x509.fields import extensions_of, subject_of
from gateway.x509.keys import fits
from gateway.x509.loading import certificate_in

DEFAULT_DAYS: Final = 2048
# Long enough for holidays without the desk, short enough that an old list, replayed by an attacker, soon expires.
DEFAULT_CRL_LIFETIME: Final = timedelta(days=30)
MIN_CRL_LIFETIME: Final = timedelta(hours=1)
MAX_CRL_LIFETIME: Final = timedelta(days=3660)  # ten years, for a root that is kept in a safe
ROOT_SUFFIX: Final = "-root"
ROOT_DAYS: Final = MAX_CRL_LIFETIME.days
MAX_DAYS: Final = 36_500  # a hundred years; X.509 clients read such dates without trouble


@dataclass(frozen=True, slots=True)
class LockedAuthority:
    """An authority without its key: enough to find out what it can't sign."""

    record: AuthorityRecord
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]  # its issuers, nearest first, up to the root

    @property
    def name(self) -> str:
        """The name that commands use for it."""
        return self.record.name

    @property
    def path(self) -> tuple[x509.Certificate, ...]:
        """The authority's certificate and those above it."""
        return self.certificate, *self.chain


@dataclass(frozen=True, slots=True)
class Authority(LockedAuthority):
    """An authority whose key is unlocked."""

    key: keys.PrivateKey = field(repr=False)

    @property
    def issuer(self) -> tuple[x509.Certificate, keys.PrivateKey, AuthorityRecord]:
        """What a profile needs to sign."""
        return self.certificate, self.key, self.record


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The properties of a new authority."""

    name: str
    common_name: str | None = None
    organization: str | None = None
    country: str | None = None
    domain: str | None = None
    servers: tuple[str, ...] = ()  # domains and networks of servers beside `domain`, or `any`
    signs: Signs = Signs.ALL
    kind: KeyKind = KeyKind.RSA_4096
    days: int | None = None  # None: 2048, or the days until the parent expires
    crl_url: str | None = None
    ocsp_url: str | None = None
    issuer_url: str | None = None
    crl_lifetime: timedelta = DEFAULT_CRL_LIFETIME


@dataclass(frozen=True, slots=True)
class Secrets:
    """The passphrases of a new authority and of its new root."""

    own: str = field(repr=False)
    root: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Urls:
    """Where clients fetch a new root's list and certificate."""

    crl: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """What `check` finds out from a plan."""

    subject: x509.Name
    domain: str | None
    constraint: x509.NameConstraints | None
    validity: profiles.Validity
    key_file: Path


def check(desk: Desk, plan: Plan, now: datetime, parent: AuthorityRecord | None = None) -> _Checked:
    """Refuse all that `create` would, before an admin types a passphrase. Raises `UsageError`, `OperationError`."""
    subject = _subject(plan)
    domain = _domain(plan.domain, parent)
    constraint = _constraint(plan, domain, parent)
    validity = _validity(plan.days, now, parent)
    if parent is not None:
        check_not_revoked(desk, path_of(parent))
        _check_depth(parent)
    return _Checked(subject, domain, constraint, validity, free_place(desk, plan.name))


def create(desk: Desk, plan: Plan, passphrase: str, now: datetime, parent: Authority | None = None) -> Authority:
    """Make a root, or an intermediate below `parent`. Raises `UsageError`, `OperationError`."""
    checked = check(desk, plan, now, None if parent is None else parent.record)
    new_key = keys.make(plan.kind)
    certificate = profiles.authority_certificate(
        subject=checked.subject,
        key=new_key,
        validity=checked.validity,
        constraint=checked.constraint,
        limit=uses.limit(plan.signs),
        issuer=None if parent is None else parent.issuer,
    )
    chain = () if parent is None else parent.path
    make_folder(checked.key_file.parent)
    write_new_private(checked.key_file, pkcs8.encrypt(new_key, pkcs8.check_passphrase(passphrase)))
    new = authorities.NewAuthority(
        name=plan.name,
        parent=None if parent is None else parent.name,
        certificate=certificate,
        chain=chain,
        domain=checked.domain,
        crl_url=plan.crl_url,
        ocsp_url=plan.ocsp_url,
        issuer_url=plan.issuer_url,
        crl_lifetime=plan.crl_lifetime,
    )
    record = register(desk, new, now, "ca init")
    return Authority(record, certificate, chain, new_key)


def check_with_root(desk: Desk, plan: Plan, now: datetime, root_urls: Urls) -> Plan:
    """Refuse all that `create_with_root` would; returns the root's plan. Raises `UsageError`, `OperationError`."""
    check(desk, plan, now)
    root_name = check_authority_name(f"{plan.name}{ROOT_SUFFIX}")
    with desk.registry.reading() as connection:
        if authorities.find(connection, root_name) is not None:  # also after a run that was killed half-way
            remedy = f"Give --parent {root_name} to make '{plan.name}' below it, or choose another name."
            raise OperationError(f"the authority '{root_name}' already exists", remedy)
    root_plan = replace(
        plan,
        name=root_name,
        common_name=f"{plan.common_name or plan.name} Root{'' if plan.common_name else ' CA'}",
        signs=Signs.ALL,
        days=max(ROOT_DAYS, plan.days or 0),
        crl_url=root_urls.crl,
        ocsp_url=None,  # OCSP would need a new signer every month, and for that the root's key
        issuer_url=root_urls.issuer,
        crl_lifetime=MAX_CRL_LIFETIME,
    )
    check(desk, root_plan, now)
    return root_plan


def create_with_root(desk: Desk, plan: Plan, secrets: Secrets, now: datetime, root_urls: Urls) -> list[Authority]:
    """Make a root, and the planned authority below it, which comes first in the result.

    Devices trust the root. Its key is needed only for further authorities, so it can be kept in a safe. The root's list
    is valid as long as the root, so the key is not needed to renew it. Raises `UsageError`, `OperationError`.
    """
    root_plan = check_with_root(desk, plan, now, root_urls)
    pkcs8.check_passphrase(secrets.own)
    root = create(desk, root_plan, secrets.root, now)
    return [create(desk, plan, secrets.own, now, root), root]


def register(
    desk: Desk, new: authorities.NewAuthority, now: datetime, action: str, revoked: Sequence[ListEntry] = ()
) -> AuthorityRecord:
    """Put an authority into the registry, and its certificates into files. Its key file must be written before."""
    with desk.registry.writing() as connection:
        record = authorities.add(connection, new, now, desk.actor)
        for entry in revoked:
            authorities.add_foreign(connection, record, entry)
        detail = new.certificate.subject.rfc4514_string()
        audit.add(connection, audit.Event(now, desk.actor, action, authority=new.name, detail=detail))
    pem = new.certificate.public_bytes(Encoding.PEM)
    write_public(desk.file(new.name, "crt"), pem)
    above = (issuer.public_bytes(Encoding.PEM) for issuer in new.chain)
    write_public(desk.file(new.name, "chain.crt"), b"".join((pem, *above)))
    return record


def load(desk: Desk, name: str) -> AuthorityRecord:
    """The authority's record in the registry. Raises `UsageError` if there is none."""
    with desk.registry.reading() as connection:
        return authorities.get(connection, name)


def signer_for(desk: Desk, name: str, purpose: Purpose) -> str:
    """The name of that authority, or of the nearest above it, that may sign for the purpose. Raises `UsageError`."""
    above: str | None = name
    while above is not None:
        record = load(desk, above)
        if uses.allows(certificate_in(record.certificate_der), purpose):
            return above
        above = record.parent
    return name


def for_people_below(desk: Desk, name: str) -> list[str]:
    """The names of the authorities below this one that sign for people. Sites that trust those don't trust this one."""
    with desk.registry.reading() as connection:
        above = certificate_in(authorities.get(connection, name).certificate_der)
        found = {
            each: certificate
            for each, certificate in authorities.below(connection, name).items()
            if taken_back(connection, (certificate, above)) is None
        }
    return [each for each, certificate in found.items() if uses.allows(certificate, Purpose.CLIENT)]


def locked(desk: Desk, name: str) -> LockedAuthority:
    """An authority that a passphrase may unlock. Raises `UsageError` for a missing key or one only for RSA-PSS."""
    record = load(desk, name)
    keys.check_signer(certificate_in(record.certificate_der), f"the authority '{name}'")  # old versions imported such
    key_file = desk.file(name, "key")
    if not exists(key_file):
        raise UsageError(
            f"{key_file}: the key of authority '{name}' is missing", "Copy it there from where it is kept."
        )
    certificate, *chain = path_of(record)
    return LockedAuthority(record, certificate, tuple(chain))


def unlock(desk: Desk, name: str, passphrase: str, remedy: str = pkcs8.TRY_AGAIN) -> Authority:
    """An authority that can sign. Raises `UsageError` as `locked` does, and with `remedy` for a wrong passphrase."""
    found = locked(desk, name)
    key_file = desk.file(name, "key")
    key = pkcs8.load(read(key_file), passphrase, str(key_file), remedy=remedy)
    if not fits(key, found.certificate):
        raise OperationError(f"{key_file}: is not the key of authority '{name}'", "Copy the authority's own key there.")
    return Authority(found.record, found.certificate, found.chain, key)


def path_of(record: AuthorityRecord) -> tuple[x509.Certificate, ...]:
    """An authority's certificate and those above it."""
    return tuple(map(certificate_in, (record.certificate_der, *record.chain_der)))


def check_not_revoked(desk: Desk, path: Sequence[x509.Certificate]) -> None:
    """Refuse an authority if it, or one above it, is revoked or on hold. Raises `UsageError`."""
    with desk.registry.reading() as connection:
        found = taken_back(connection, path)
    if found is not None:
        raise UsageError(
            f"the authority {found.subject} is revoked or on hold: it is on the list of {found.issuer}",
            f"Use another authority. {keys.MAKE_ANEW}",
        )


def check_settings(
    *, crl_url: str | None, ocsp_url: str | None, issuer_url: str | None, crl_lifetime: timedelta
) -> None:
    """Refuse URLs that clients would not fetch, and lists valid for too short or too long. Raises `UsageError`."""
    for url, what in ((crl_url, "CRL URL"), (ocsp_url, "OCSP URL"), (issuer_url, "issuer URL")):
        if url is not None:
            check_http_url(url, what)
    if crl_lifetime < MIN_CRL_LIFETIME:
        raise UsageError(
            "a revocation list must be valid for at least an hour", "Give a longer --crl-lifetime, such as 30d."
        )
    if crl_lifetime > MAX_CRL_LIFETIME:
        raise UsageError(
            f"a revocation list must not be valid for more than {MAX_CRL_LIFETIME.days} days",
            "Give a shorter --crl-lifetime, such as 30d: an old list lets in certificates that were revoked since.",
        )


def _subject(plan: Plan) -> x509.Name:
    check_settings(
        crl_url=plan.crl_url, ocsp_url=plan.ocsp_url, issuer_url=plan.issuer_url, crl_lifetime=plan.crl_lifetime
    )
    if plan.country is not None and not (len(plan.country) == 2 and plan.country.isascii() and plan.country.isupper()):
        raise UsageError(f"'{plan.country}' is not a country code", "Write two capital letters, such as DE.")
    return profiles.Names(
        common_name=check_text(plan.common_name or f"{check_authority_name(plan.name)} CA", "common name"),
        organization=None if plan.organization is None else check_text(plan.organization, "organization"),
        country=plan.country,
    ).subject


def _domain(domain: str | None, parent: AuthorityRecord | None) -> str | None:
    wanted = None if domain is None else check_domain(domain)
    inherited = None if parent is None else parent.domain
    if inherited is not None and wanted not in (None, inherited):
        raise UsageError(
            f"the parent authority may sign only for {inherited}, not for '{wanted}'",
            f"Give --domain {inherited}, or another --parent.",
        )
    return wanted or inherited


def _constraint(plan: Plan, domain: str | None, parent: AuthorityRecord | None) -> x509.NameConstraints | None:
    """The name constraint of the authority's certificate: its domain and servers, or the parent's constraint."""
    if domain is None:
        if plan.servers:
            raise UsageError("--server was given without --domain", "Give --domain too, or leave out --server.")
        return None
    if parent is not None and plan.domain is None and not plan.servers:
        return constraints.inherited(path_of(parent))
    servers = hosts.check_bounds(plan.servers)
    if parent is not None and servers is not None:
        constraints.check(path_of(parent), hosts=[x509.DNSName(domain), *servers])
    return constraints.of_domain(domain, servers)


def _check_depth(parent: AuthorityRecord) -> None:
    """Refuse an authority whose certificates every verifier would refuse (RFC 5280 section 6.1.4 m)."""
    for below, above in enumerate(path_of(parent), 1):
        allowed = _path_length(above)
        if allowed is not None and allowed < below:
            raise UsageError(
                f"{subject_of(above).rfc4514_string()} may have {_levels(allowed)} authorities below it (path length)",
                f"Give --parent {parent.parent}." if parent.parent else "Give the root as --parent.",
            )


def _levels(allowed: int) -> str:
    return f"at most {allowed} levels of" if allowed else "no"


def _path_length(certificate: x509.Certificate) -> int | None:
    try:
        return extensions_of(certificate).get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:  # a root of X.509v1
        return None


def _validity(days: int | None, now: datetime, parent: AuthorityRecord | None) -> profiles.Validity:
    left = MAX_DAYS if parent is None else (parent.not_after - now).days
    wanted = max(1, min(DEFAULT_DAYS, left)) if days is None else days
    if not 1 <= wanted <= MAX_DAYS:
        raise UsageError(f"an authority cannot be valid for {wanted} days", f"Give --days 1 to {MAX_DAYS}.")
    validity = profiles.Validity.of_days(now, wanted)
    if parent is not None and validity.not_after > parent.not_after:
        raise UsageError(f"the parent '{parent.name}' expires in {left} days", f"Give --days {max(left, 1)} or fewer.")
    return validity


def free_place(desk: Desk, name: str) -> Path:
    """The path for a new authority's key. Raises `OperationError` if the name is taken or the file exists."""
    with desk.registry.reading() as connection:
        if authorities.find(connection, check_authority_name(name)) is not None:
            raise OperationError(f"the authority '{name}' already exists", "Choose another name.")
    key_file = desk.file(name, "key")
    if exists(key_file):
        # It may be of a run that was killed, or of another registry: a key is never overwritten.
        raise OperationError(
            f"{key_file}: this key file already exists",
            "Choose another name, or move the key to another folder; 'gateway ca import' can import it from there.",
        )
    return key_file
