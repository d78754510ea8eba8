"""From the files on disk to a snapshot, at the start and ever again.

Keeps true: all or nothing. A new snapshot is whole before anybody sees it; whatever is wrong with a file
leaves the old one serving, with the reason at hand.
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
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream_tls import upstream_tls
from gateway.redaction import without_secrets
from gateway.regular_files import read_regular
from gateway.stamps import Stamp
from gateway.supervisor.list_state import ListSet, read_lists
from gateway.supervisor.lists import ListStore
from gateway.supervisor.snapshot import build_snapshot
from gateway.tls.trust import KnownLists
from gateway.x509.loading import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class Revision:
    """One reading of the configuration and all the files that it names."""

    source: bytes  # of the YAML file, so that a changed certificate does not bring in a half-edited YAML
    config: Config
    snapshot: Snapshot
    warnings: tuple[Problem, ...]
    variables: Mapping[str, str]  # of the environment, as far as the file names them
    store: ListStore  # the revocation lists that were fetched
    stamps: Mapping[Path, Stamp]  # of the files that it names, lists apart, from before they were read
    lists: ListSet  # the revocation lists that `snapshot` serves by


def read_revision(path: Path, source: bytes | None = None, previous: Revision | None = None) -> Revision:
    """Read everything anew. Raises `ConfigError`.

    `source`: the YAML as it was read before; None reads the file. `previous` keeps the TLS contexts of sites whose
    settings are still the same, and with them the sessions that they gave out, and the revocation lists that still fit:
    these are taken up apart, and a broken one is no reason to refuse a configuration.
    """
    if source is None:
        try:
            source = read_regular(path, MAX_FILE_BYTES)
        except PermissionError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", access.to_read(path)) from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "name a readable configuration file with -c") from error
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
    """As a worker reads what the master has read already: lists and `variables` of the environment came from there.

    Raises `ConfigError`.
    """
    loaded = load_with_warnings(path, source=source, is_serving=True, environ=variables, reads_list=lambda _: False)
    config = loaded.config
    missing = [source for site in config.sites for source in site.crl if source not in known]
    if missing:
        raise ConfigError(
            f"{without_secrets(missing[0])}: the list has not come from the master yet", "it is tried again"
        )
    return prepare(config, known, previous)


def prepare(config: Config, known: Mapping[str, KnownLists], previous: Snapshot | None = None) -> Snapshot:
    """All that serving this configuration needs, or `ConfigError`; the rest as for `build_snapshot`."""
    for upstream in config.upstreams:
        upstream_tls(upstream)
    return build_snapshot(config, previous, known)


def at_day(revision: Revision, unix_seconds: float) -> tuple[Revision, tuple[str, ...]]:
    """(The same at another time, the names of the rules in observation whose day has come since)."""
    snapshot, engine = revision.snapshot, revision.snapshot.engine
    if unix_seconds < engine.changes_at:
        return revision, ()
    rules = revision.config.rules
    begun = (rule.name for rule in rules if not rule.refuses_at(engine.now) and rule.refuses_at(unix_seconds))
    return replace(revision, snapshot=replace(snapshot, engine=engine.at(unix_seconds))), tuple(begun)


def check_same_frame(old: Config, new: Config) -> None:
    """Refuse what only a new start can change. Raises `ConfigError`."""
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
    """What the publisher was told; None where there is none."""
    if config.pki is None or not config.publishes:
        return None
    return config.pki.store, config.pki.folder
