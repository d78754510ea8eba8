"""What the keeper tells the master: plain data for JSON, times in Unix seconds.

The master imports this module: nothing is imported here that a worker, its fork, must not hold.
"""

from __future__ import annotations

from typing import TypedDict


class AuthorityReport(TypedDict):
    """One authority."""

    name: str
    ends: float
    list_ends: float | None
    list_number: int
    is_kept: bool
    certificates: dict[str, int]  # status → how many


class CertificateReport(TypedDict):
    """A certificate that ends soon."""

    serial: str
    name: str
    email: str | None
    authority: str
    ends: float


class TroubleReport(TypedDict):
    """Something that does not work."""

    what: str
    cause: str
    remedy: str
    since: float
    retry_at: float


class MailReport(TypedDict):
    """Mails since the keeper's start."""

    sent: int
    refused: int


class NotificationsReport(TypedDict):
    """Whether word of other machines' revocations arrives."""

    is_up: bool
    since: float
    cause: str | None  # why not; None before it was tried, too


class Report(TypedDict):
    """All of it."""

    looked: float | None  # None: the registry could not be looked at yet
    authorities: list[AuthorityReport]
    ending: list[tuple[float, int]]  # within so many seconds, so many
    next: list[CertificateReport]
    problems: list[str]  # what somebody has to do now
    warnings: list[str]
    troubles: list[TroubleReport]
    mails: MailReport
    notifications: NotificationsReport | None  # None: a registry of one machine
