"""What the keeper reports to the master: plain data for JSON, times in Unix seconds.

Keeps true: this module imports only what workers may hold, because the master imports it and workers are its forks.
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
    """Something that failed and is tried again."""

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
    """Whether notifications of other machines' revocations arrive."""

    is_up: bool
    since: float
    cause: str | None  # why they do not arrive; also None before the first attempt


class Report(TypedDict):
    """One report."""

    looked: float | None  # when the registry was read last; None: it could not be read yet
    authorities: list[AuthorityReport]
    ending: list[tuple[float, int]]  # (seconds, number of certificates that end within them)
    next: list[CertificateReport]
    problems: list[str]  # lines that call for an action now
    warnings: list[str]
    troubles: list[TroubleReport]
    mails: MailReport
    notifications: NotificationsReport | None  # None: a SQLite registry, which one machine uses
