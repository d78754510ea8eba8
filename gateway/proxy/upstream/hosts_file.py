"""Resolves names without DNS: those in the hosts file (hosts(5)), and `localhost` (RFC 6761, 6.3).

Keeps true: the file is used before DNS, as with `hosts: files dns`; a change is noticed at the next look-up; malformed
lines are ignored.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Final

HOSTS_PATH: Final = Path("/etc/hosts")
# Block lists against advertisements may be longer; the rest is ignored, because reading blocks the event loop.
MAX_HOSTS_BYTES: Final = 1024 * 1024

_LOOPBACK: Final = ("::1", "127.0.0.1")


class HostsFile:
    """The contents of this machine's hosts file, cached."""

    __slots__ = ("_names", "_path", "_stamp")

    def __init__(self, path: Path = HOSTS_PATH) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._names: dict[str, tuple[str, ...]] = {}

    def find(self, name: str) -> tuple[str, ...]:
        """The addresses of a name (lower case, no final dot), IPv6 first; empty if DNS must be asked."""
        self._look()
        found = self._names.get(name, ())
        return found or (_LOOPBACK if name == "localhost" or name.endswith(".localhost") else ())

    def _look(self) -> None:
        try:
            seen = self._path.stat()
            stamp = seen.st_ino, seen.st_size, seen.st_mtime_ns
            if stamp != self._stamp:
                with self._path.open("rb") as file:
                    self._names = read_hosts(file.read(MAX_HOSTS_BYTES))
                self._stamp = stamp
        except OSError:  # missing, as in some containers, or not readable
            self._names, self._stamp = {}, None


def read_hosts(data: bytes) -> dict[str, tuple[str, ...]]:
    """Name in lower case → its addresses, IPv6 first, otherwise in the order of the file."""
    found: dict[str, dict[str, None]] = {}
    for line in data.decode("latin-1").split("\n"):
        address, *names = line.partition("#")[0].split() or [""]
        if names and (text := _plain(address)) is not None:
            for name in names:
                found.setdefault(name.lower().removesuffix("."), {})[text] = None
    return {name: tuple(sorted(addresses, key=lambda text: ":" not in text)) for name, addresses in found.items()}


def _plain(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
