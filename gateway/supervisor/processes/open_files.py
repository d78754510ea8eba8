"""The limit of open files: a connection needs one descriptor, and its connection to the upstream another.

Keeps true: every process may open as many files as the system allows this user. If that is too few for the configured
number of connections, the gateway warns at the start, before clients are refused for it.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

from gateway.proxy.connections import REFUSED_CONNECTIONS

# Logs, listening sockets, the channel to the master, and idle connections to upstreams.
OTHER_FILES: Final = 256
# A symbolic link to /proc/self/fd if /proc is mounted.
_FOLDER: Final = Path("/dev/fd")


def raise_limit() -> None:
    """Raise the soft limit of this process and its children to the hard limit; many systems start with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """How many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def count() -> int:
    """How many files this process has open."""
    try:
        return sum(1 for _ in _FOLDER.iterdir()) - 1  # not the folder itself
    except OSError:  # no descriptor is left to open the folder
        return limit()


def shortage(connections: int) -> str | None:
    """A warning if one worker with all these connections would reach its limit of files; None if not."""
    wanted = 2 * connections + REFUSED_CONNECTIONS + OTHER_FILES
    if (granted := limit()) >= wanted:
        return None
    return (
        f"a worker may open {granted:,} files, but {connections:,} connections and their upstream connections need up "
        f"to {wanted:,}; raise the limit (LimitNOFILE={wanted} in a systemd unit, --ulimit nofile={wanted} for a "
        "container), or lower limits.connections"
    )
