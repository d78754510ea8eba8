"""Lockouts after too many failed logins: sent to every worker, listed in the status, and lifted on request.

Keeps true: the master has the only table, and each worker has its newest content; a reload lifts no lockout; every
lockout that begins or is lifted is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from gateway import clock
from gateway.admin.state import LiftAnswer, LockoutState
from gateway.admin.times import rfc3339
from gateway.config.model import Lockout
from gateway.proxy.limits.lockout import Who, certificate_name, key_of_text
from gateway.supervisor.lockout.table import LockoutTable
from gateway.supervisor.processes.channel import Message

_log = logging.getLogger("gateway.master")


class Bans:
    """The table of lockouts, which is sent to the workers."""

    def __init__(self, settings: Lockout | None, tell_workers: Callable[[Message], None]) -> None:
        """`settings` None: lockout is off."""
        self._table = None if settings is None else LockoutTable(settings)
        self._tell_workers = tell_workers

    @property
    def settings(self) -> Lockout | None:
        """The current settings; None: lockout is off."""
        return None if self._table is None else self._table.settings

    def follow(self, settings: Lockout | None) -> None:
        """Use other settings. Counting starts again from zero; lockouts that have begun keep their end."""
        if settings == self.settings:
            return
        before = {} if self._table is None else self._table.bans(clock.unix_seconds())
        self._table = None if settings is None else LockoutTable(settings, before)
        self.tell()

    def count(self, counts: Mapping[str, int]) -> None:
        """Add a worker's failed logins; if a lockout begins, log it and tell all workers."""
        if self._table is None:
            return
        now = clock.unix_seconds()
        begun = [key for key, count in counts.items() if self._table.failed(key, count, now) is not None]
        if begun:
            seconds = self._table.settings.ban_seconds
            _log.warning(
                "locked out for %g s after too many failures: %s", seconds, ", ".join(str(Who.of(key)) for key in begun)
            )
            self.tell()

    def tell(self) -> None:
        """Send the current lockouts to every worker."""
        bans = {} if self._table is None else self._table.bans(clock.unix_seconds())
        self._tell_workers({"do": "ban", "bans": bans})

    def lift(self, name: str, asked_by: str) -> LiftAnswer:
        """Let a client in again; `asked_by` is for the log.

        `name`: an address, with all certificates that are locked out there, or a certificate at every address.
        """
        address = certificate = None
        try:
            address = key_of_text(name)
        except ValueError:
            certificate = certificate_name(name)
        if address is None and certificate is None:
            return {"address": name, "outcome": "no_address"}
        known_as = name if address is None else address
        if self._table is None:
            return {"address": known_as, "outcome": "off"}
        now = clock.unix_seconds()
        found = {key: until for key, until in self._table.bans(now).items() if _is_meant(key, address, certificate)}
        if not found:
            return {"address": known_as, "outcome": "not_locked_out"}
        for key, until in found.items():
            self._table.lift(key)
            who = Who.of(key)
            whose = who.certificate and f", for {who.certificate}"
            _log.warning(
                "the lockout of %s was lifted %.0f s before its end%s; requested by %s",
                *(who.address, until - now, whose, asked_by),
            )
        self.tell()
        return {"address": known_as, "outcome": "lifted"}

    def describe(self) -> list[LockoutState]:
        """The lockouts for the state, those that end first at the top."""
        now = clock.unix_seconds()
        bans = {} if self._table is None else self._table.bans(now)
        return [_state(Who.of(key), until, now) for key, until in sorted(bans.items(), key=lambda item: item[1])]


def _is_meant(key: str, address: str | None, certificate: str | None) -> bool:
    who = Who.of(key)
    return who.address == address if certificate is None else who.is_called(certificate)


def _state(who: Who, until: float, now: float) -> LockoutState:
    return {
        "address": who.address,
        "certificate": who.fingerprint,
        "holder": who.holder,
        "ends": rfc3339(until),
        "seconds_left": round(until - now, 3),
    }
