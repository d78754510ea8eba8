"""Loads the file as a `Config`, or reports all its errors.

Keeps true: it returns a `Config` only if it found no error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway import clock
from gateway.config.addresses import Unreadable
from gateway.config.alerts import check_alerts
from gateway.config.certificates import Material
from gateway.config.container import arrivals, warn_of_trust
from gateway.config.environment import Lookups
from gateway.config.log_target import Target, parse_log_target
from gateway.config.loops import check_loops
from gateway.config.marks import YamlError, decode, parse
from gateway.config.model import Config, Pki, User
from gateway.config.networks import Networks, check_inside
from gateway.config.pki import build_pki, check_pki, warn_of_lists, warn_of_unchecked
from gateway.config.problems import START, ConfigErrors, Place, Problem, Problems
from gateway.config.reading import Reader, Value
from gateway.config.rules import Rules
from gateway.config.schema import SCHEMA
from gateway.config.service import (
    build_access_log,
    build_admin,
    build_identity_headers,
    build_limits,
    build_listeners,
    build_lockout,
    build_pages,
    read_peers,
    worker_count,
)
from gateway.config.sites import Sites
from gateway.config.upstreams import build_name_servers, build_upstreams
from gateway.config.users import build_user
from gateway.errors import ConfigError
from gateway.x509.loading import read_file

# A thousand sites take half of it. At a reload the master sends the file to each worker. The channel buffers 16 MiB for
# a worker that doesn't read, and a byte may take six there.
MAX_SOURCE_BYTES: Final = 2 * 1024 * 1024
_SECRETS: Final = frozenset({"sites[].key", "sites[].key_password", "upstreams.*.tls.key"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable configuration and its warnings, in file order."""

    config: Config
    warnings: tuple[Problem, ...]
    variables: Mapping[str, str]  # of the environment, those that the file names
    root: Value | None = field(default=None, repr=False)  # the file as a tree, to find the places of entries


def load(
    path: Path, *, now: datetime | None = None, environ: Mapping[str, str] | None = None, reads_keys: bool = True
) -> Config:
    """The file's configuration. Raises `ConfigErrors` with all errors.

    Certificates are checked at `now` (default: the clock), variables come from `environ` (default: the process's).
    `reads_keys` as for `load_with_warnings`.
    """
    return load_with_warnings(path, now=now, environ=environ, reads_keys=reads_keys).config


def load_with_warnings(  # noqa: PLR0913 - what the callers differ in
    path: Path,
    *,
    source: bytes | None = None,
    is_serving: bool = False,
    now: datetime | None = None,
    environ: Mapping[str, str] | None = None,
    reads_list: Callable[[str], bool] = lambda _: True,
    reads_keys: bool = True,
) -> Loaded:
    """Like `load`, and returns the warnings too.

    `source`: the file's content, if it was read before. `is_serving`: a file that has only expired is a warning.
    `reads_list`: whether the revocation list at a path is read. Without `reads_keys`, private keys, passwords and
    passphrases are not read, so that people who may not read them can ask what the rules decide. Such a configuration
    can't serve.
    """
    problems = Problems(str(path), is_serving)
    lookups = Lookups(os.environ if environ is None else environ)
    try:
        source = _content(path, problems) if source is None else source
        root = _read(source, problems, lookups, _is_needed if reads_keys else _is_no_secret)
    except YamlError as error:
        problems.error(Place(error.mark), error.cause, error.remedy)
        root = None
    config = None
    if root is not None and source is not None:
        material = Material(path.absolute().parent, now or clock.now(), problems, reads_list, reads_keys=reads_keys)
        config = replace(_build(path.absolute(), root, material, problems), digest=digest_of(source))
    if config is None or problems.errors:
        partial = None if config is None else Loaded(config, problems.warnings, lookups.found, root)
        raise ConfigErrors(problems.errors, problems.warnings, partial)
    return Loaded(config, problems.warnings, lookups.found, root)


def digest_of(source: bytes) -> str:
    """The first eight hex digits of the SHA-256 of a configuration file's bytes: `sha256sum gateway.yaml`."""
    return hashlib.sha256(source).hexdigest()[:8]


def _is_needed(_: Place) -> bool:
    return True


def _is_no_secret(place: Place) -> bool:
    """False for keys, passwords, and the section of the certificate registry, which no rule needs."""
    return place.shape not in _SECRETS and not place.shape.startswith("pki.")


def _is_of_registry(place: Place) -> bool:
    """True for the keys that the commands for certificates need."""
    return place.shape in ("pki.store", "pki.folder")


def _content(path: Path, problems: Problems) -> bytes | None:
    try:
        return read_file(path)
    except ConfigError as error:
        problems.error(Place(START), error.cause, error.remedy)
        return None


def _read(
    data: bytes | None,
    problems: Problems,
    environ: Mapping[str, str],
    is_needed: Callable[[Place], bool] = _is_needed,
) -> Value | None:
    if data is None:
        return None
    if len(data) > MAX_SOURCE_BYTES:
        problems.error(
            Place(START),
            f"the file has more than {MAX_SOURCE_BYTES:,} bytes",
            "check its name, or use fewer rules with more entries",
        )
        return None
    node = parse(decode(data))
    if node is None:
        problems.error(
            Place(START), "the file is empty, or has only comments", "begin with a copy of config.example.yaml"
        )
        return None
    return Reader(problems, environ, is_needed).read(SCHEMA, node, Place(node.mark))


def _build(path: Path, root: Value, material: Material, problems: Problems) -> Config:
    material.permissions.check(path, Place(START))
    listeners = build_listeners(root, path.parent, problems)
    known = arrivals()
    networks = Networks(root.section("networks"), problems, known.addresses)
    check_inside(root, networks, problems)
    warn_of_trust(root, networks.resolved, known, problems)
    table = root.section("upstreams")
    upstreams = build_upstreams(table, material, problems)
    sites = Sites(material, table.keys if "upstreams" in root.data else None, upstreams, problems)
    views = [sites.read(value) for value in root.items("sites")]
    sites.check_addresses()
    admin = build_admin(root, listeners, problems)
    check_loops(root, listeners, admin, views, problems)
    proxies = root.section("trusted_proxies")
    trusted_proxies = read_peers(proxies, "from", "proxies", problems)
    rules = Rules(networks, views, trusted_proxies, material, problems).read(root.get("rules"))
    check_pki(root, material, problems)
    warn_of_lists(root, sites.list_files, path.parent, problems)
    warn_of_unchecked(root, path.parent, problems)
    webroots = [value.get("acme_webroot") for value in root.items("listen")]
    access_log = build_access_log(root, path.parent, problems)
    log = root.section("access_log")
    for named in (root.section("pages").get("directory"), log.get("path") if access_log.path else None, *webroots):
        if named is not None:
            material.path(named)
    if (log_ca := log.get("ca")) is not None:
        material.certificates(log_ca)
    pki = build_pki(root, path.parent, problems)
    check_alerts(root, None if pki is None else pki.mail, access_log, problems)
    _warn_of_unused(root, problems)
    return Config(
        path=path,
        listen=listeners,
        sites=tuple(view.site for view in views if view.site is not None),
        upstreams=upstreams,
        rules=rules,
        networks=networks.resolved,
        not_inside=networks.not_inside,
        trusted_proxies=trusted_proxies,
        trusted_proxies_header=proxies.plain("header", "x-forwarded-for"),
        name_servers=build_name_servers(root.section("resolver"), problems),
        limits=build_limits(root, problems),
        identity_headers=build_identity_headers(root, problems),
        lockout=build_lockout(root),
        access_log=access_log,
        pages=build_pages(root, path.parent, problems),
        workers=worker_count(root),
        admin=admin,
        pki=pki,
        user=build_user(root, problems),
    )


def _warn_of_unused(root: Value, problems: Problems) -> None:
    """Warn of upstreams that no site uses, unless an error might hide the site that does."""
    if problems.errors:
        return
    used = {site.data["upstream"].data for site in root.items("sites")}
    for name, place in root.section("upstreams").keys.items():
        if name not in used:
            problems.warning(place, "no site uses this upstream", "remove it, or name it in a site")


def read_user(path: Path, *, environ: Mapping[str, str] | None = None) -> User | None:
    """The user that the file names; None if there is none, or if the file has errors, which `load` reports."""
    problems = Problems(str(path))
    try:
        root = _read(_content(path, problems), problems, os.environ if environ is None else environ)
    except YamlError:
        return None
    return None if root is None else build_user(root, problems)


def read_pki(path: Path, *, environ: Mapping[str, str] | None = None) -> Pki | None:
    """The registry's section of the file. Certificates that the file names may be missing: the desk makes them.

    Variables that only the service has, such as `CREDENTIALS_DIRECTORY`, need not be set.
    Raises `ConfigErrors`.
    """
    problems = Problems(str(path))
    return build_pki(_read_alone(path, problems, environ), path.absolute().parent, problems)


def read_contact(path: Path, *, environ: Mapping[str, str] | None = None) -> str | None:
    """The contact for users, for the desk's letters. Files that the configuration names are not read.

    Raises `ConfigErrors`.
    """
    contact = _read_alone(path, Problems(str(path)), environ).section("pages").plain("contact", None)
    return None if contact is None else str(contact)


def read_log_place(path: Path, *, environ: Mapping[str, str] | None = None) -> Target:
    """Where the access log goes. The files that the configuration names aren't read.

    Raises `ConfigErrors`.
    """
    problems = Problems(str(path))
    root = _read_alone(path, problems, environ, lambda place: place.shape == "access_log.path")
    name = root.section("access_log").get("path")
    try:
        return "stdout" if name is None else parse_log_target(str(name.data), path.absolute().parent)
    except Unreadable as error:
        problems.error(root.section("access_log").at("path"), error.cause, error.remedy)
        raise ConfigErrors(problems.errors) from error


def _read_alone(
    path: Path,
    problems: Problems,
    environ: Mapping[str, str] | None,
    is_needed: Callable[[Place], bool] = _is_of_registry,
) -> Value:
    """The file as a tree, without reading the files that it names. Raises `ConfigErrors`."""
    try:
        root = _read(_content(path, problems), problems, os.environ if environ is None else environ, is_needed)
    except YamlError as error:
        problems.error(Place(error.mark), error.cause, error.remedy)
        root = None
    if root is None or problems.errors:
        raise ConfigErrors(problems.errors, problems.warnings)
    return root
