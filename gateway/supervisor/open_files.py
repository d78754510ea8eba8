"""File descriptors: a connection takes one, and its connection to the upstream another.

Keeps true: every process may open as many files as the system grants this user at all, and where those are too few for
the configured number of connections that is said at the start, not found out when nobody can connect any more.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

from gateway.proxy.service import REFUSED_CONNECTIONS

# Logs, listening sockets, the line to the master, and connections that upstreams are kept open for.
OTHER_FILES: Final = 256
# A symbolic link to /proc/self/fd where there is a /proc.
_FOLDER: Final = Path("/dev/fd")


def raise_limit() -> None:
    """Lift this process's soft limit, and so its children's, to the hard one: many systems begin with 1,024."""
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
    except OSError:  # no descriptor is left to look with
        return limit()


def shortage(connections: int) -> str | None:
    """The warning where one worker that got all of so many connections would run out of files."""
    wanted = 2 * connections + REFUSED_CONNECTIONS + OTHER_FILES
    if (granted := limit()) >= wanted:
        return None
    return (
        f"a worker may open {granted:,} files, and {connections:,} connections with their upstreams' take up to "
        f"{wanted:,}; raise the limit (LimitNOFILE in a systemd unit, "
        "--ulimit nofile= for a container), or lower limits.connections"
    )
