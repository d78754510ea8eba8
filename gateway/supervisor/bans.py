"""Who is kept out after too many failed logins: told to every worker, listed for the status, and lifted on request.

Keeps true: the one table is the master's, and what workers were told last is what is in it; a reload neither lets
anybody in nor makes anybody unknown; every ban that begins or is lifted leaves a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from gateway import clock
from gateway.admin.state import LiftAnswer, LockoutState
from gateway.config.model import Lockout
from gateway.proxy.lockout import key_of_text
from gateway.supervisor.channel import Message
from gateway.supervisor.lockouts import Lockouts
from gateway.supervisor.times import rfc3339

_log = logging.getLogger("gateway.master")


class Bans:
    """The table and those who must know of it."""

    def __init__(self, settings: Lockout | None, tell_workers: Callable[[Message], None]) -> None:
        """`settings` None: lockout is off."""
        self._table = None if settings is None else Lockouts(settings)
        self._tell_workers = tell_workers

    @property
    def settings(self) -> Lockout | None:
        """What counts now; None: lockout is off."""
        return None if self._table is None else self._table.settings

    def follow(self, settings: Lockout | None) -> None:
        """Go by other settings. Counting begins anew; who is out stays out, for as long as it was told then."""
        if settings == self.settings:
            return
        before = {} if self._table is None else self._table.bans(clock.unix_seconds())
        self._table = None if settings is None else Lockouts(settings, before)
        self.tell()

    def count(self, counts: Mapping[str, int]) -> None:
        """Add a worker's failed logins; tell all where that keeps somebody out."""
        if self._table is None:
            return
        now = clock.unix_seconds()
        begun = [key for key, count in counts.items() if self._table.failed(key, count, now) is not None]
        if begun:
            seconds = self._table.settings.ban_seconds
            _log.warning("locked out for %g s after too many failures: %s", seconds, ", ".join(begun))
            self.tell()

    def tell(self) -> None:
        """Let every worker know who is out now."""
        bans = {} if self._table is None else self._table.bans(clock.unix_seconds())
        self._tell_workers({"do": "ban", "bans": bans})

    def lift(self, address: str, asked_by: str) -> LiftAnswer:
        """Let an address in again; `asked_by` says for the log who wanted it."""
        try:
            key = key_of_text(address)
        except ValueError:
            return {"address": address, "outcome": "no_address"}
        if self._table is None:
            return {"address": key, "outcome": "off"}
        now = clock.unix_seconds()
        until = self._table.bans(now).get(key)
        if until is None:
            return {"address": key, "outcome": "not_locked_out"}
        self._table.lift(key)
        self.tell()
        _log.warning("the lockout of %s is lifted, %.0f s before its end; asked for by %s", key, until - now, asked_by)
        return {"address": key, "outcome": "lifted"}

    def describe(self) -> list[LockoutState]:
        """For the state: who is out, the first to be let in again first."""
        now = clock.unix_seconds()
        bans = {} if self._table is None else self._table.bans(now)
        return [
            {"address": key, "ends": rfc3339(until), "seconds_left": round(until - now, 3)}
            for key, until in sorted(bans.items(), key=lambda item: item[1])
        ]
