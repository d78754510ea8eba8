"""What fails now, why, and when it is tried again.

Keeps true: the pause between attempts grows, so that a wrong passphrase does not keep a core busy. A failure is logged
when it happens, and the status shows it for as long as it lasts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.commands import at_desk
from gateway.errors import GatewayError, as_clause

FIRST_RETRY_SECONDS: Final = 60
MAX_RETRY_SECONDS: Final = 1800
_MAX_DOUBLINGS: Final = 8

_log = logging.getLogger("gateway.keeper")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that fails."""

    what: str  # "the revocation list of 'corp'"
    cause: str
    remedy: str
    since: datetime
    retry_at: datetime
    attempts: int = 1


class Troubles:
    """Everything that fails now."""

    def __init__(self, options: str = "") -> None:
        """`options`: with which `gateway ca` and `gateway cert` in remedies find the registry."""
        self._options = options
        self._known: dict[str, Trouble] = {}  # by `what`

    def __iter__(self) -> Iterator[Trouble]:
        return iter(tuple(self._known.values()))

    def may_try(self, what: str, now: datetime) -> bool:
        """True if this did not fail, or if it is time for the next attempt."""
        known = self._known.get(what)
        return known is None or now >= known.retry_at

    def failed(self, what: str, error: GatewayError, now: datetime, *, max_seconds: int = MAX_RETRY_SECONDS) -> None:
        """Note and log a failure; the next attempt comes after `max_seconds` at the latest."""
        known = self._known.get(what)
        attempts = 1 if known is None else known.attempts + 1
        seconds = min(FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, _MAX_DOUBLINGS), max_seconds)
        since = now if known is None else known.since
        retry_at = now + timedelta(seconds=seconds)
        remedy = at_desk(error.remedy, self._options)
        self._known[what] = Trouble(what, error.cause, remedy, since, retry_at, attempts)
        if known is None or known.cause != error.cause or attempts.bit_count() == 1:  # attempts 1, 2, 4, 8, …
            _log.error("%s: %s; %s", what, error.cause, as_clause(remedy))

    def works(self, what: str) -> None:
        """Note a success, and log it if there was a failure before."""
        if self._known.pop(what, None) is not None:
            _log.info("%s: works again", what)

    def retry(self, *what: str) -> None:
        """Let these be tried at once; without arguments, everything."""
        for each in what or tuple(self._known):
            if (trouble := self._known.get(each)) is not None:
                self._known[each] = replace(trouble, retry_at=trouble.since)
