"""The master's side of the keeper, which is started if the configuration has work for it.

Keeps true: each new keeper gets the plan over its channel; the state says if the keeper does not report.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Final, NoReturn, cast

from gateway import clock
from gateway.admin.state import AuthorityState, CertificateState, NotificationsState, RegistryState, TroubleState
from gateway.admin.times import rfc3339
from gateway.keeper.plan import ROUND_SECONDS, Plan, to_message
from gateway.keeper.told import AuthorityReport, CertificateReport, NotificationsReport, Report, TroubleReport
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.processes.environment import database_variables
from gateway.supervisor.processes.program import become

_MODULE: Final = "gateway.supervisor.helpers.keeper_process"
# Three rounds: a database or a key may take a while.
SILENT_SECONDS: Final = 3 * ROUND_SECONDS


class KeeperRole:
    """Starts the keeper, sends it the plan, and keeps its last report."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self.role = Role("the keeper", become_keeper, self._hear, self._brief)
        self._plan: Plan | None = None
        self._report: Report | None = None
        self._heard_seconds = 0.0  # monotonic; when the report came, or before the first one, when the plan was set
        self._outages: tuple[str, ...] = ()  # the lines that the keeper has

    def follow(self, plan: Plan | None) -> None:
        """Let the keeper follow this plan from now on."""
        if plan == self._plan:
            return
        self._plan, self._report = plan, None
        self._heard_seconds = clock.monotonic_seconds()
        if self._children.of(self.role):
            self._brief()
        elif plan is not None and not self._children.is_due(self.role):
            self._children.begin(self.role)

    def retry(self) -> None:
        """Let the keeper retry at once what failed, because its cause may have been removed."""
        self._brief()

    def tell_outages(self, outages: tuple[str, ...]) -> None:
        """Send the lines about refused clients to the keeper, for a mail."""
        if outages != self._outages:
            self._outages = outages
            self._send_outages()

    def _brief(self) -> None:
        plan = None if self._plan is None else to_message(self._plan)
        for child in self._children.of(self.role):
            self._children.send(child, {"do": "keep", "plan": plan, "environment": database_variables(os.environ)})
        self._send_outages()

    def _send_outages(self) -> None:
        for child in self._children.of(self.role):
            self._children.send(child, {"do": "tell outages", "outages": list(self._outages)})

    def _hear(self, _child: Child, message: Message) -> None:
        match message:
            case {"is": "kept", "report": dict(report)} if self._plan is not None:
                self._report = cast("Report", report)
                self._heard_seconds = clock.monotonic_seconds()

    @property
    def problems(self) -> tuple[str, ...]:
        """The keeper's problems, which call for an action now."""
        return () if self._report is None else tuple(self._report["problems"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """The keeper's warnings: what ends soon and must be renewed."""
        return () if self._report is None else tuple(self._report["warnings"])

    def describe(self, now: datetime) -> RegistryState | None:
        """The registry for the state; None if the keeper has nothing to do."""
        if self._plan is None:
            return None
        report = self._report or _NOTHING
        return {
            "looked": None if report["looked"] is None else rfc3339(report["looked"]),
            "is_silent": clock.monotonic_seconds() - self._heard_seconds > SILENT_SECONDS,
            "authorities": [_authority(each, now) for each in report["authorities"]],
            "ending": [{"within_seconds": seconds, "count": count} for seconds, count in report["ending"]],
            "next": [_certificate(each, now) for each in report["next"]],
            "problems": list(report["problems"]),
            "troubles": [_trouble(each) for each in report["troubles"]],
            "mails": {"sent": report["mails"]["sent"], "refused": report["mails"]["refused"]},
            "notifications": None if report["notifications"] is None else _notifications(report["notifications"]),
        }


def become_keeper(channel: Channel) -> NoReturn:
    """Run the keeper in this new fork. Raises `OSError` if Python can't be started."""
    become(_MODULE, (channel,))


_NOTHING: Final = Report(
    looked=None,
    authorities=[],
    ending=[],
    next=[],
    problems=[],
    warnings=[],
    troubles=[],
    mails={"sent": 0, "refused": 0},
    notifications=None,
)


def _authority(known: AuthorityReport, now: datetime) -> AuthorityState:
    list_ends = known["list_ends"]
    return {
        "name": known["name"],
        "ends": rfc3339(known["ends"]),
        "seconds_left": _left(known["ends"], now),
        "list_ends": None if list_ends is None else rfc3339(list_ends),
        "list_seconds_left": None if list_ends is None else _left(list_ends, now),
        "list_number": known["list_number"],
        "is_kept": known["is_kept"],
        "certificates": known["certificates"],
    }


def _certificate(known: CertificateReport, now: datetime) -> CertificateState:
    return {
        "serial": known["serial"],
        "name": known["name"],
        "email": known["email"],
        "authority": known["authority"],
        "ends": rfc3339(known["ends"]),
        "seconds_left": _left(known["ends"], now),
    }


def _trouble(known: TroubleReport) -> TroubleState:
    return {
        "what": known["what"],
        "cause": known["cause"],
        "remedy": known["remedy"],
        "since": rfc3339(known["since"]),
        "retry_at": rfc3339(known["retry_at"]),
    }


def _notifications(known: NotificationsReport) -> NotificationsState:
    return {"is_up": known["is_up"], "since": rfc3339(known["since"]), "cause": known["cause"]}


def _left(unix_seconds: float, now: datetime) -> float:
    return round(unix_seconds - now.timestamp(), 3)
