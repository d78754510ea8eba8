"""The state of the running gateway, which the master sends to the admin process.

Keeps true: it describes the configuration and files that are in use, not newer ones on disk; it has no secrets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from cryptography import x509
from OpenSSL import SSL, crypto

from gateway import __version__, clock
from gateway.admin.state import (
    EndingState,
    HelperState,
    LockoutState,
    ObservationState,
    ReloadState,
    ServerState,
    SiteState,
    State,
    WorkerState,
)
from gateway.admin.times import rfc3339
from gateway.config.model import Config
from gateway.config.observation import is_observed, outlook
from gateway.proxy import snapshot as proxy
from gateway.proxy.snapshot import Snapshot
from gateway.supervisor.helpers.keeper_role import KeeperRole
from gateway.supervisor.processes.channel import Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.processes.watchdog import Watchdog
from gateway.supervisor.reload.revision import Revision
from gateway.supervisor.revocation_lists.sender import ListSender
from gateway.supervisor.state.totals import Totals
from gateway.supervisor.state.warnings import WarningLog
from gateway.supervisor.state.worker_reports import WorkerReports
from gateway.tls.trust import is_url
from gateway.x509.fields import subject_of


@dataclass(slots=True)
class Reloads:
    """The results of reloads."""

    loaded: float = field(default_factory=clock.unix_seconds)  # when the configuration in use was read, Unix seconds
    succeeded: int = 0
    refused: int = 0
    refused_at: float | None = None  # Unix seconds
    error: str | None = None  # why the last reload was refused; None if it succeeded

    def succeed(self) -> None:
        """Note a successful reload."""
        self.loaded = clock.unix_seconds()
        self.succeeded += 1
        self.refused_at = self.error = None

    def refuse(self, error: str) -> None:
        """Note a refused reload."""
        self.refused += 1
        self.refused_at = clock.unix_seconds()
        self.error = error

    def describe(self) -> ReloadState:
        """The reloads for the state."""
        return {
            "loaded": rfc3339(self.loaded),
            "succeeded": self.succeeded,
            "refused": self.refused,
            "refused_at": None if self.refused_at is None else rfc3339(self.refused_at),
            "error": self.error,
        }


class Reporter:
    """Makes the state."""

    def __init__(  # noqa: PLR0913 - what the state is made from
        self,
        children: Children,
        worker_reports: WorkerReports,
        workers: Role,
        *,
        reloads: Reloads,
        warning_log: WarningLog,
        keeper: KeeperRole,
        list_sender: ListSender,
        watchdog: Watchdog,
    ) -> None:
        self._children = children
        self._worker_reports = worker_reports
        self._workers = workers
        self._reloads = reloads
        self._warning_log = warning_log
        self._keeper = keeper
        self._list_sender = list_sender
        self._watchdog = watchdog
        self._started = clock.now()
        self._started_seconds = clock.monotonic_seconds()
        self.is_stopping = False
        self.helpers: list[Role] = []  # the processes that must run beside the workers

    def state(self, revision: Revision, asked_seconds: float, lockouts: list[LockoutState]) -> State:
        """The state; a worker answers if it has reported since `asked_seconds`, monotonic."""
        now, config = clock.now(), revision.config
        workers = self._children.of(self._workers)
        states = [self._worker(worker, asked_seconds) for worker in workers]
        reports = [self._worker_reports.of(worker).status for worker in workers]
        totals = Totals()
        totals.add_totals(self._worker_reports.ended)
        for report in reports:
            totals.add(report)
        is_serving = any(state["is_answering"] and not state["is_draining"] for state in states)
        return {
            "version": __version__,
            "time": rfc3339(now),
            "pid": os.getpid(),
            "started": rfc3339(self._started),
            "uptime_seconds": round(clock.monotonic_seconds() - self._started_seconds, 3),
            "config": str(config.path),
            "is_stopping": self.is_stopping,
            "is_serving": is_serving and not self.is_stopping,
            "workers_wanted": config.workers,
            "worker_restarts": self._children.replaced[self._workers],
            "workers": states,
            "helpers": [self._helper(role) for role in self.helpers],
            "connections": sum(state["connections"] for state in states),
            "reload": self._reloads.describe(),
            "lists_generation": revision.lists.generation,
            "list_problems": [
                entry.problem
                for source, entry in revision.lists.entries.items()
                if entry.problem is not None and not is_url(source)
            ],
            "sites": [_site(site, now) for site in revision.snapshot.states],
            "upstreams": _upstreams(revision.snapshot, reports),
            "lockouts": lockouts,
            "warnings": list(self._warning_log.lines(now)),
            "outages": list(self._warning_log.outages(now)),
            "answers": [
                {"status": status, "reason": reason, "count": count}
                for (status, reason), count in totals.answers.items()
            ],
            "observation": _observation(config, totals, now),
            "observed": [
                {"rule": rule, "reason": reason, "count": count} for (rule, reason), count in totals.observed.items()
            ],
            "handshakes": {
                "full": totals.handshakes["full"],
                "resumed": totals.handshakes["resumed"],
                "failed": totals.handshakes["failed"],
            },
            "bytes": {"received": totals.bytes["in"], "sent": totals.bytes["out"]},
            "dropped_log_lines": totals.dropped_log_lines,
            "registry": self._keeper.describe(now),
        }

    def _helper(self, role: Role) -> HelperState:
        running = self._children.of(role)[-1:]
        return {
            "name": role.name.removeprefix("the "),
            "pid": running[0].pid if running else None,
            "started": rfc3339(running[0].started) if running else None,
            "is_answering": bool(running) and not self._watchdog.is_silent(running[0]),
            "restarts": self._children.replaced[role],
        }

    def _worker(self, worker: Child, asked_seconds: float) -> WorkerState:
        known = self._worker_reports.of(worker)
        heard, status = known.heard_seconds, known.status
        lists = self._list_sender.of(worker)
        return {
            "pid": worker.pid,
            "started": rfc3339(worker.started),
            "is_answering": heard is not None and heard >= asked_seconds,
            "report_age_seconds": None if heard is None else round(clock.monotonic_seconds() - heard, 3),
            "is_draining": status.get("is_draining", False),
            "connections": status.get("connections", 0),
            "tasks": status.get("tasks", 0),
            "open_files": status.get("open_files", 0),
            "open_files_limit": status.get("open_files_limit", 0),
            "reload_error": known.reload_error,
            "lists_generation": lists.generation,
            "lists_behind_seconds": round(lists.behind_seconds, 3),
            "lists_error": lists.error,
        }


def _observation(config: Config, totals: Totals, now: datetime) -> list[ObservationState]:
    return [
        {
            "rule": rule.name,
            "line": rule.line,
            "refuses_from": None if isinstance(rule.enforce, bool) else rfc3339(rule.enforced_from),
            "outlook": outlook(rule),
            "count": sum(count for (name, _), count in totals.observed.items() if name == rule.name),
        }
        for rule in config.rules
        if is_observed(rule, now)
    ]


def _site(state: proxy.SiteState, now: datetime) -> SiteState:
    served = cast("crypto.X509", SSL.Connection(state.tls.silent, None).get_certificate())  # every context has one
    trust = state.tls.trust
    return {
        "name": state.site.name,
        "hosts": list(state.site.hosts),
        "upstream": state.site.upstream,
        "certificate": _certificate(served.to_cryptography(), now),
        "client_cas": [_certificate(anchor, now) for anchor in trust.anchors],
        "crls": [_ending(entry.source, entry.this_update, entry.next_update, now) for entry in trust.lists],
    }


def _certificate(certificate: x509.Certificate, now: datetime) -> EndingState:
    name = subject_of(certificate).rfc4514_string()
    return _ending(name, certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)


def _ending(name: str, begins: datetime, ends: datetime, now: datetime) -> EndingState:
    return {
        "name": name,
        "begins": rfc3339(begins),
        "ends": rfc3339(ends),
        "seconds_left": round((ends - now).total_seconds(), 3),
    }


def _upstreams(snapshot: Snapshot, reports: Iterable[Message]) -> dict[str, list[ServerState]]:
    """Every configured server, also those that no worker has reported yet."""
    found: dict[tuple[str, str], ServerState] = {}
    for upstream in snapshot.config.upstreams:
        for server in upstream.servers:
            found[upstream.name, server.url] = ServerState(
                server=server.url, addresses=[], busy=0, idle=0, up_in=0, workers=0, cause=None
            )
    for report in reports:
        for name, servers in report.get("upstreams", {}).items():
            for told in servers:
                if (known := found.get((name, told["server"]))) is not None:  # else it is of the old configuration
                    _add(known, told)
    upstreams: dict[str, list[ServerState]] = {upstream.name: [] for upstream in snapshot.config.upstreams}
    for (name, _), known in found.items():
        upstreams[name].append(known)
    return upstreams


def _add(known: ServerState, told: Message) -> None:
    known["addresses"] += [address for address in told["addresses"] if address not in known["addresses"]]
    known["busy"] += told["busy"]
    known["idle"] += told["idle"]
    known["up_in"] += bool(told["is_up"])
    known["workers"] += 1
    known["cause"] = known["cause"] or told["cause"]
