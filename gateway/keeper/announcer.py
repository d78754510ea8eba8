"""Log lines about certificates that end soon: one for each certificate and each threshold that it reaches.

Keeps true: thresholds that were reached before the keeper started share one line, so a restart does not fill the log.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from gateway.commands import at_desk
from gateway.config.units import format_duration
from gateway.keeper.findings import Findings
from gateway.keeper.renewal import text

_log = logging.getLogger("gateway.keeper")


class Announcer:
    """Logs each threshold of each certificate once."""

    def __init__(self) -> None:
        self._told: dict[str, timedelta] | None = None  # serial → the last threshold; None before the first look

    def tell(self, findings: Findings) -> None:
        """Log the thresholds that were reached since the last call."""
        thresholds = sorted(within for within, _ in findings.ending)
        reached = {
            record.fingerprint: next(each for each in thresholds if record.not_after - findings.at <= each)
            for record in findings.next
        }
        if self._told is None:
            self._tell_all(findings)
        else:
            for record in findings.next:
                within = reached[record.fingerprint]
                if self._told.get(record.fingerprint) != within:
                    _log.warning(
                        "certificate %s of %s, issued by '%s', expires %s, within %s; run %s",
                        record.serial,
                        record.email or record.common_name,
                        record.authority,
                        text(record.not_after),
                        format_duration(within.total_seconds()),
                        at_desk(f"'gateway cert renew {record.serial}'", findings.options),
                    )
        self._told = reached

    @staticmethod
    def _tell_all(findings: Findings) -> None:
        numbers = [
            f"{count:,} within {format_duration(each.total_seconds())}" for each, count in findings.ending if count
        ]
        if numbers:
            longest = format_duration(findings.ending[0][0].total_seconds())
            _log.warning(
                "certificates that expire soon: %s; run %s to see them",
                ", ".join(numbers),
                at_desk(f"'gateway cert list --expiring {longest}'", findings.options),
            )
