"""The keeper's report to the master, from its findings and its failures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.errors import as_clause
from gateway.keeper.findings import Findings
from gateway.keeper.told import AuthorityReport, CertificateReport, NotificationsReport, Report
from gateway.keeper.troubles import Trouble

# How many certificates `gateway status` lists.
SHOWN: Final = 10


def report(
    findings: Findings | None,
    troubles: Iterable[Trouble],
    *,
    sent: int,
    refused: int,
    notifications: NotificationsReport | None,
) -> Report:
    """Make a report; `findings` is None before the first round. `sent` and `refused` count mails since the start."""
    return {
        "looked": None if findings is None else findings.at.timestamp(),
        "authorities": [] if findings is None else _authorities(findings),
        "ending": [] if findings is None else [(within.total_seconds(), count) for within, count in findings.ending],
        "next": [] if findings is None else _next(findings),
        "problems": [] if findings is None else list(findings.problems),
        "warnings": [] if findings is None else list(findings.warnings),
        "troubles": [
            {
                "what": trouble.what,
                "cause": trouble.cause,
                "remedy": as_clause(trouble.remedy),
                "since": trouble.since.timestamp(),
                "retry_at": trouble.retry_at.timestamp(),
            }
            for trouble in troubles
        ],
        "mails": {"sent": sent, "refused": refused},
        "notifications": notifications,
    }


def _authorities(findings: Findings) -> list[AuthorityReport]:
    return [
        {
            "name": found.name,
            "ends": found.ends.timestamp(),
            "list_ends": None if found.list_ends is None else found.list_ends.timestamp(),
            "list_number": found.list_number,
            "is_kept": found.is_kept,
            "certificates": {
                status: count for (name, status), count in sorted(findings.counts.items()) if name == found.name
            },
        }
        for found in findings.authorities
    ]


def _next(findings: Findings) -> list[CertificateReport]:
    return [
        {
            "serial": record.serial,
            "name": record.common_name,
            "email": record.email,
            "authority": record.authority,
            "ends": record.not_after.timestamp(),
        }
        for record in findings.next[:SHOWN]
    ]
