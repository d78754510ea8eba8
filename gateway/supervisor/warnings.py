"""What an administrator should act on before clients notice, or can't overlook any more: said loudly and again.

What this module keeps true: a line that is new is logged within a minute, at once after a start or a reload; one that
still holds is repeated every hour, so that it stands in any log that somebody looks at; nothing is said twice in
between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from cryptography import x509

from gateway import clock
from gateway.proxy.snapshot import Snapshot
from gateway.tls.trust import expiry_line

REPEAT_SECONDS: Final = 3600.0
CHECK_SECONDS: Final = 60.0

_log = logging.getLogger("gateway.warnings")


class Bulletin:
    """Tells what `warnings_of` finds in the current snapshot, and what others find."""

    def __init__(self, others: Callable[[], tuple[str, ...]] = tuple) -> None:
        self._others = others
        self._snapshot: Snapshot | None = None
        self._chains: tuple[tuple[str, tuple[x509.Certificate, ...]], ...] = ()
        self._told: dict[str, float] = {}  # line → when it was last told, monotonic seconds
        self._check_at = 0.0

    def follow(self, snapshot: Snapshot) -> None:
        """Another snapshot serves: look at it now."""
        self._snapshot = snapshot
        self._chains = tuple(_server_chains(snapshot))
        self._check_at = 0.0
        self.tick()

    def tick(self) -> None:
        """Look again when it is time to."""
        now = clock.monotonic_seconds()
        if self._snapshot is not None and now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            for line in self.due(self.lines(clock.now()), now):
                _log.warning("%s", line)

    def lines(self, now: datetime) -> tuple[str, ...]:
        """All that holds at `now`."""
        own = () if self._snapshot is None else warnings_of(self._snapshot, self._chains, now)
        return own + self._others()

    def due(self, lines: tuple[str, ...], now: float) -> tuple[str, ...]:
        """Those of `lines` that are to be told at `now`, in monotonic seconds."""
        due = tuple(line for line in lines if now - self._told.get(line, -REPEAT_SECONDS) >= REPEAT_SECONDS)
        self._told = {line: now if line in due else self._told[line] for line in lines}
        return due


def warnings_of(
    snapshot: Snapshot, chains: tuple[tuple[str, tuple[x509.Certificate, ...]], ...], now: datetime
) -> tuple[str, ...]:
    """A line for everything that ends soon or is missing, each once; `chains`: (file, the site's own certificates)."""
    lines: dict[str, None] = {}
    for source, chain in chains:
        for certificate in chain:
            if line := expiry_line(f"{source}: the certificate", certificate, now):
                lines[line] = None
    for state in snapshot.states:
        for line in state.tls.trust.warnings(now):
            lines[f"{state.site.name}: {line}"] = None
    return tuple(lines)


def _server_chains(snapshot: Snapshot) -> Iterator[tuple[str, tuple[x509.Certificate, ...]]]:
    for file in {state.site.certificate.path: state.site.certificate for state in snapshot.states}.values():
        yield str(file.path), file.certificates
