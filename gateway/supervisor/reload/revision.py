"""Reads the configuration and all its files into a snapshot, at the start and at each reload.

Keeps true: a reload is all or nothing. A new snapshot is used only when it is complete; after any error in a file the
old one stays, and the error says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway import access
from gateway.admin.state import RESTART
from gateway.config.load import load_with_warnings
from gateway.config.model import Config
from gateway.config.problems import Problem
from gateway.errors import ConfigError
from gateway.fetching.list_store import ListStore
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream.tls import upstream_tls
from gateway.redaction import without_secrets
from gateway.regular_files import read_regular
from gateway.stamps import Stamp
from gateway.supervisor.reload.build_snapshot import build_snapshot
from gateway.supervisor.revocation_lists.current import ListSet, read_lists
from gateway.tls.trust import KnownLists
from gateway.x509.loading import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class Revision:
    """The configuration and all the files that it names, as read at one time."""

    source: bytes  # the YAML file, so that a reload for a changed certificate does not read a half-edited YAML file
    config: Config
    snapshot: Snapshot
    warnings: tuple[Problem, ...]
    variables: Mapping[str, str]  # environment variables that the YAML file uses
    store: ListStore  # of fetched revocation lists
    stamps: Mapping[Path, Stamp]  # of the files that it names, except lists, taken before they were read
    lists: ListSet  # the revocation lists in `snapshot`


def read_revision(path: Path, source: bytes | None = None, previous: Revision | None = None) -> Revision:
    """Read the configuration and its files. Raises `ConfigError`.

    `source`: the YAML file as it was read before; None reads the file. From `previous`, sites with unchanged settings
    keep their TLS contexts, and so their clients' sessions. Revocation lists that still fit are kept too: changed lists
    are taken up separately, and a damaged one is no reason to refuse a configuration.
    """
    if source is None:
        try:
            source = read_regular(path, MAX_FILE_BYTES)
        except PermissionError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", access.to_read(path)) from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "give the path of a configuration file with -c") from error
    before = ListSet() if previous is None else previous.lists
    loaded = load_with_warnings(
        path, source=source, is_serving=True, reads_list=lambda name: name not in before.entries
    )
    store = ListStore.beside(path) if previous is None else previous.store
    seen = {file.path: file.stamp for file in loaded.config.files}
    lists = read_lists(loaded.config, store, before)
    snapshot = prepare(loaded.config, lists.known(), None if previous is None else previous.snapshot)
    return Revision(source, loaded.config, snapshot, loaded.warnings, loaded.variables, store, seen, lists)


def read_with_known_lists(
    path: Path, source: bytes, variables: Mapping[str, str], known: Mapping[str, KnownLists], previous: Snapshot
) -> Snapshot:
    """Read the configuration in a worker, with the lists and environment variables that the master has sent.

    Raises `ConfigError`.
    """
    loaded = load_with_warnings(path, source=source, is_serving=True, environ=variables, reads_list=lambda _: False)
    config = loaded.config
    missing = [source for site in config.sites for source in site.crl if source not in known]
    if missing:
        raise ConfigError(
            f"{without_secrets(missing[0])}: the list has not come from the master yet", "wait: the worker tries again"
        )
    return prepare(config, known, previous)


def prepare(config: Config, known: Mapping[str, KnownLists], previous: Snapshot | None = None) -> Snapshot:
    """Check the upstreams' TLS settings and build the snapshot, see `build_snapshot`. Raises `ConfigError`."""
    for upstream in config.upstreams:
        upstream_tls(upstream)
    return build_snapshot(config, previous, known)


def at_day(revision: Revision, unix_seconds: float) -> tuple[Revision, tuple[str, ...]]:
    """(The revision at another time, names of the rules that were in observation and are enforced since then)."""
    snapshot, engine = revision.snapshot, revision.snapshot.engine
    if unix_seconds < engine.changes_at:
        return revision, ()
    rules = revision.config.rules
    begun = (rule.name for rule in rules if not rule.refuses_at(engine.now) and rule.refuses_at(unix_seconds))
    return replace(revision, snapshot=replace(snapshot, engine=engine.at(unix_seconds))), tuple(begun)


def check_same_frame(old: Config, new: Config) -> None:
    """Check that no setting has changed that needs a restart. Raises `ConfigError`."""
    changed = [
        key
        for key, before, after in (
            ("listen", old.listen, new.listen),
            ("workers", old.workers, new.workers),
            ("admin", old.admin, new.admin),
            ("user", old.user, new.user),
            ("access_log", old.access_log, new.access_log),
            ("pki.store, pki.folder", _published(old), _published(new)),
        )
        if before != after
    ]
    if changed:
        raise ConfigError(
            f"{new.path}: {', '.join(changed)} cannot change while the gateway runs",
            f"restart the gateway ({RESTART}), or put the old value back",
        )


def _published(config: Config) -> tuple[str, Path] | None:
    """The publisher's settings; None if nothing is published."""
    if config.pki is None or not config.publishes:
        return None
    return config.pki.store, config.pki.folder
