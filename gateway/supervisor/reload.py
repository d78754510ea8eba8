"""From the files on disk to a snapshot, at the start and ever again.

Keeps true: all or nothing. A new snapshot is whole before anybody sees it; whatever is wrong with a file
leaves the old one serving, with the reason at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway import access
from gateway.config.load import load_with_warnings
from gateway.config.model import Config
from gateway.config.problems import Problem
from gateway.errors import ConfigError
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream_tls import upstream_tls
from gateway.regular_files import read_regular
from gateway.stamps import Stamp, stamp_of
from gateway.supervisor.lists import ListStore, stored_lists
from gateway.supervisor.snapshot import build_snapshot
from gateway.tls.trust import is_url
from gateway.x509.loading import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class Revision:
    """One reading of the configuration and all the files that it names."""

    source: bytes  # of the YAML file, so that a changed certificate does not bring in a half-edited YAML
    config: Config
    snapshot: Snapshot
    warnings: tuple[Problem, ...]
    variables: Mapping[str, str]  # of the environment, as far as the file names them
    lists: ListStore  # the revocation lists that were fetched
    stamps: Mapping[Path, Stamp]  # of the files that it names, from before they were read


def read_revision(
    path: Path,
    source: bytes | None = None,
    previous: Snapshot | None = None,
    lists: ListStore | None = None,
    variables: Mapping[str, str] | None = None,
) -> Revision:
    """Read everything anew. Raises `ConfigError`.

    `source`: the YAML as it was read before; None reads the file. `previous` keeps the TLS contexts of sites whose
    settings are still the same, and with them the sessions that they gave out. `lists` are the fetched revocation
    lists; None: those that a gateway with this file fetched before. `variables` stand for the environment; None: this
    process's own.
    """
    if source is None:
        try:
            source = read_regular(path, MAX_FILE_BYTES)
        except PermissionError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", access.to_read(path)) from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "name a readable configuration file with -c") from error
    loaded = load_with_warnings(path, source=source, is_serving=True, environ=variables)
    lists = lists or ListStore.beside(path)
    # Before the reading: a list that is replaced in the middle of it must be seen as changed.
    seen = stamps(watched_files(loaded.config, lists)) | {file.path: file.stamp for file in loaded.config.files}
    return Revision(
        source,
        loaded.config,
        prepare(loaded.config, lists, previous),
        loaded.warnings,
        loaded.variables,
        lists,
        seen,
    )


def prepare(config: Config, lists: ListStore | None = None, previous: Snapshot | None = None) -> Snapshot:
    """All that serving this configuration needs, or `ConfigError`; the rest as for `read_revision`."""
    for upstream in config.upstreams:
        upstream_tls(upstream)
    return build_snapshot(config, previous, stored_lists(config, lists or ListStore.beside(config.path)))


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
            "restart the gateway, or put the old value back",
        )


def _published(config: Config) -> tuple[str, Path] | None:
    """What the publisher was told; None where there is none."""
    if config.pki is None or not config.publishes:
        return None
    return config.pki.store, config.pki.folder


def watched_files(config: Config, lists: ListStore) -> frozenset[Path]:
    """The files whose change on disk is picked up by itself: certificates, keys and revocation lists, fetched too."""
    files = {file.path for file in config.files}
    for site in config.sites:
        for source in site.crl:
            files.update(lists.files(source) if is_url(source) else (Path(source),))
    return frozenset(files)


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """What can be seen of the files from outside."""
    return {path: stamp_of(path) for path in paths}
