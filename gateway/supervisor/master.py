"""The master process: opens the sockets, forks the workers, replaces those that end, and reloads changed files.

Keeps true: the sockets and the TLS contexts exist before the first fork, so all workers share them; a worker that ends
is replaced, after a longer pause each time if it keeps ending; a reload is complete or changes nothing, and the log and
the status say why; the master itself serves no clients.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
from dataclasses import replace
from typing import Final

from gateway import clock
from gateway.admin.state import State
from gateway.commands import options_for
from gateway.config.model import Config, Listener
from gateway.errors import ConfigError, in_one_line
from gateway.fetching.plan import Plan, fetch_plan
from gateway.keeper.plan import plan_of
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.supervisor.access_log import open_access_log
from gateway.supervisor.helpers.admin_role import become_admin_process, open_admin
from gateway.supervisor.helpers.fetcher_role import FetcherRole
from gateway.supervisor.helpers.keeper_role import KeeperRole
from gateway.supervisor.helpers.publisher_role import PublisherRole
from gateway.supervisor.lockout.bans import Bans
from gateway.supervisor.log_rotation import LogRotation
from gateway.supervisor.privileges import Privileges, root_warning
from gateway.supervisor.processes import dumps, open_files
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.processes.watchdog import Watchdog
from gateway.supervisor.reload.build_snapshot import with_lists
from gateway.supervisor.reload.file_watch import FileWatch
from gateway.supervisor.reload.revision import Revision, at_day, check_same_frame, read_revision
from gateway.supervisor.revocation_lists.current import CurrentLists
from gateway.supervisor.revocation_lists.sender import ListSender
from gateway.supervisor.sockets import open_listener
from gateway.supervisor.state.report import Reloads, Reporter
from gateway.supervisor.state.requests import PendingRequests
from gateway.supervisor.state.warnings import WarningLog
from gateway.supervisor.state.worker_reports import WorkerReports
from gateway.supervisor.worker import process as worker

# Workers that have not ended by then, a little after their own drain time, are killed.
KILL_AFTER_SECONDS: Final = worker.DRAIN_SECONDS + 5.0
# The other processes have no work that must be finished.
KILL_HELPER_AFTER_SECONDS: Final = 3.0
# How often files are checked for changes; this takes a few stat calls.
WATCH_SECONDS: Final = 0.5

_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

_log = logging.getLogger("gateway.master")


class Master:
    """Runs until it is told to stop."""

    def __init__(self, revision: Revision, privileges: Privileges | None = None) -> None:
        """Open logs and sockets, and give up root's rights. Raises `ConfigError` or `OperationError`."""
        privileges = privileges or Privileges(None)
        self._revision = revision
        config = revision.config
        self._first_plan = fetch_plan(config)
        # Another user can't open root's standard output again.
        with privileges.as_root() if config.access_log.is_stdout else contextlib.nullcontext():
            self._access_log = open_access_log(config.access_log)
        self._listening: list[tuple[Listener, socket.socket]] = []
        with privileges.as_root():
            for listener in config.listen:
                self._listening.append((listener, open_listener(listener)))
            self._admin = None if config.admin is None else open_admin(config.admin)
        privileges.give_up()
        self._rotation = None
        rotate = config.access_log.rotate
        if config.access_log.path is not None and rotate is not None:
            self._rotation = LogRotation(
                config.access_log.path, rotate, self._reopen_log, lambda: self._access_log.is_current, self._let_go
            )
        self._files = FileWatch(revision.stamps)
        self._reloads = Reloads()
        self._bans = Bans(config.lockout, self._say)
        self._selector = selectors.DefaultSelector()
        self._signals, self._wakeup = socket.socketpair()
        self._children = Children(self._selector, self._let_go)
        self._worker_reports = WorkerReports(self._children)
        self._keeper = KeeperRole(self._children)
        self._fetcher = FetcherRole(self._children, revision.store)
        self._warning_log = WarningLog(
            lambda: (*root_warning(), *self._keeper.warnings), self._silent_sites, lambda: self._keeper.problems
        )
        self._workers = Role("worker", self._work, self._hear_worker, self._on_worker)
        self._watchdog = Watchdog(self._children, self._workers)
        self._children.on_heard = self._watchdog.heard
        self._lists = CurrentLists(revision.store)
        self._lists.follow(revision.lists, revision.snapshot)
        self._list_sender = ListSender(self._children, self._workers, lambda: self._lists.current)
        self._look_at_seconds = 0.0  # monotonic
        self._connection_counts = SharedCounts(config.workers)
        self._rows: dict[int, int] = {}  # worker's process id → its row in the shared counts
        self._reporter = Reporter(
            self._children,
            self._worker_reports,
            self._workers,
            reloads=self._reloads,
            warning_log=self._warning_log,
            keeper=self._keeper,
            list_sender=self._list_sender,
            watchdog=self._watchdog,
        )
        self._requests = PendingRequests(
            self._children, self._worker_reports, self._workers, self._describe, self._bans.lift
        )
        self._administration = Role("the admin process", self._administer, self._requests.hear)
        self._publisher = None
        if config.pki is not None and config.publishes:
            self._publisher = PublisherRole(config.pki, options_for(config.path), self._children)

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code."""
        self._watch_signals()
        config = self._revision.config
        dumps.forbid_core_dumps()
        dumps.forbid_reading()
        open_files.raise_limit()
        if (line := open_files.shortage(config.limits.connections)) is not None:
            _log.warning("%s", line)
        for _ in range(config.workers):
            self._children.start(self._workers)
        addresses = ", ".join(listener.address for listener in config.listen)
        _log.info("serving on %s with %d worker(s)", addresses, config.workers)
        if self._publisher is not None:
            self._reporter.helpers.append(self._publisher.role)
            self._children.start(self._publisher.role)
        if config.admin is not None:
            self._children.start(self._administration)
            _log.info("status, health and metrics on %s", config.admin.address)
        self._keep(config)
        self._fetch(self._first_plan)
        self._warning_log.follow(self._revision.snapshot)
        while True:
            for number in self._wait(WATCH_SECONDS):
                match number:
                    case signal.SIGTERM | signal.SIGINT:
                        return self._stop()
                    case signal.SIGUSR1:
                        self._reopen_log()
                    case signal.SIGHUP:
                        self._reload(None)
                        self._fetcher.fetch_now()
                        self._keeper.retry()
            self._worker_reports.forget(self._children.reap())
            self._children.replace()
            self._watchdog.tick()
            self._look_at_disk()
            self._look_at_day()
            self._list_sender.tick()
            self._warning_log.tick()
            self._keeper.tell_outages(self._warning_log.lasting)

    def _watch_signals(self) -> None:
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, _note)
        self._selector.register(self._signals, selectors.EVENT_READ)

    def _wait(self, seconds: float) -> list[int]:
        """Process messages of the other processes for at most so long; returns the signals that came."""
        for due in (self._children.due_seconds(), self._requests.due_seconds()):
            if due is not None:
                seconds = max(0.0, min(seconds, due - clock.monotonic_seconds()))
        numbers: list[int] = []
        for key, events in self._selector.select(seconds):
            if key.fileobj is self._signals:
                with contextlib.suppress(BlockingIOError):
                    numbers += self._signals.recv(64)
            else:
                self._children.on_event(key.data, events)
        self._requests.answer()
        return numbers

    # the other processes

    def _reopen_log(self) -> None:
        """Let all processes open the access log again: it has another file."""
        self._access_log.reopen()
        self._children.signal(self._workers, signal.SIGUSR1)

    def _let_go(self) -> None:
        """Close, in a new child, what belongs to the master, and reset its signal handlers."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            # A worker that is still starting looks by itself whether the log was rotated meanwhile.
            signal.signal(number, signal.SIG_IGN if number is signal.SIGUSR1 else signal.SIG_DFL)
        if self._rotation is not None:
            self._rotation.end()
        self._selector.close()
        self._signals.close()
        self._wakeup.close()
        self._children.let_go()

    def _work(self, channel: Channel) -> None:
        if self._admin is not None:
            self._admin.close()
        path = None
        if self._publisher is not None:
            self._publisher.let_go()
            path = self._publisher.path
        self._connection_counts.take_row(self._free_row())
        shared = worker.Shared(self._connection_counts, path)
        worker.serve(self._revision, self._listening, self._access_log, channel, shared)

    def _free_row(self) -> int:
        """The lowest row without a running worker; the new worker and the master find the same one."""
        alive = {child.pid for child in self._children.of(self._workers)}
        taken = {row for pid, row in self._rows.items() if pid in alive}
        return min(set(range(self._revision.config.workers)) - taken)

    def _on_worker(self) -> None:
        newest = self._children.of(self._workers)[-1]
        self._rows[newest.pid] = self._free_row()
        self._list_sender.started(newest)
        self._bans.tell()

    def _administer(self, channel: Channel) -> None:
        config = self._revision.config.admin
        if config is not None and self._admin is not None:
            become_admin_process(channel, self._admin, config.host)

    def _keep(self, config: Config) -> None:
        plan = plan_of(config)
        if plan is not None and self._keeper.role not in self._reporter.helpers:
            self._reporter.helpers.append(self._keeper.role)
        self._keeper.follow(plan)

    def _fetch(self, plan: Plan) -> None:
        if plan and self._fetcher.role not in self._reporter.helpers:
            self._reporter.helpers.append(self._fetcher.role)
        self._fetcher.follow(plan)

    def _describe(self, asked_seconds: float) -> State:
        return self._reporter.state(self._revision, asked_seconds, self._bans.describe())

    def _hear_worker(self, child: Child, message: Message) -> None:
        match message:
            case {"is": "failures", "counts": dict(counts)}:
                self._bans.count(counts)
            case {"is": "list" | "lists"}:
                self._list_sender.hear(child, message)
            case _:
                self._worker_reports.hear(child, message)

    def _silent_sites(self) -> set[str]:
        """Sites whose OCSP responder does not answer, by the workers' last reports; asks for new ones if it matters."""
        if all(site.ocsp.mode != "hard" for site in self._revision.config.sites):
            return set()
        self._worker_reports.ask(self._workers)
        reports = (self._worker_reports.of(child).status for child in self._children.of(self._workers))
        return {site for report in reports for site in report.get("ocsp_silent", ())}

    def _say(self, message: Message) -> None:
        """Send a message to every worker."""
        for child in self._children.of(self._workers):
            if not self._children.send(child, message):
                os.kill(child.pid, signal.SIGKILL)  # it must not serve without the message; its successor has it

    # changes on disk

    def _look_at_disk(self) -> None:
        now = clock.monotonic_seconds()
        if now >= self._look_at_seconds:
            self._look_at_seconds = now + WATCH_SECONDS
            self._look_at_lists()
            self._look_at_files()
            if self._rotation is not None:
                self._rotation.tick()

    def _look_at_lists(self) -> None:
        """Take up changed revocation lists, without waiting for other files or for the configuration."""
        look = self._lists.look(clock.now())
        if look.is_news:
            snapshot = with_lists(self._revision.snapshot, self._lists.current.known())
            self._revision = replace(self._revision, snapshot=snapshot, lists=self._lists.current)
            self._warning_log.follow(snapshot)
        if look.refused and self._reloads.error is not None:
            # A new CA and its list belong together: the last reload may have been refused because of the missing list.
            self._reload(self._revision.source)

    def _look_at_day(self) -> None:
        """Enforce rules whose date has come, for workers that start later; running workers do this by themselves."""
        self._revision, begun = at_day(self._revision, clock.unix_seconds())
        for name in begun:
            _log.info("the rule %r is no longer in observation: its date has come", name)

    def _look_at_files(self) -> None:
        if changed := self._files.look():
            _log.info("changed on disk: %s", ", ".join(map(str, changed)))
            self._reload(self._revision.source)

    def _reload(self, source: bytes | None) -> None:
        """Read all files again, the YAML only if `source` is None; after any error the old configuration stays."""
        try:
            old = self._revision
            revision = read_revision(old.config.path, source, replace(old, lists=self._lists.current))
            check_same_frame(old.config, revision.config)
            plan = fetch_plan(revision.config)
        except ConfigError as error:
            self._refuse(in_one_line(error))
            return
        except Exception as error:  # noqa: BLE001 - no content of a file may stop the master
            _log.exception("reading the configuration failed")
            self._refuse(f"{type(error).__name__}: {error}")
            return
        for warning in revision.warnings:
            _log.warning("%s", warning)
        self._lists.follow(revision.lists, revision.snapshot)
        self._revision = replace(revision, lists=self._lists.current)
        self._files.follow(revision.stamps)
        self._reloads.succeed()
        text = revision.source.decode("utf-8", "surrogateescape")
        reload = {"do": "reload", "source": text, "variables": dict(revision.variables)}
        self._say({**reload, "lists": revision.lists.generation})
        self._bans.follow(revision.config.lockout)
        _log.info("reloaded: %d site(s), %d rule(s)", len(revision.config.sites), len(revision.config.rules))
        self._keep(revision.config)
        self._fetch(plan)
        self._warning_log.follow(revision.snapshot)

    def _refuse(self, cause: str) -> None:
        self._reloads.refuse(cause)
        for line in cause.splitlines():
            _log.error("reload refused, the old configuration stays: %s", line)

    # stopping

    def _stop(self) -> int:
        """Let the workers drain, then end all processes."""
        _log.info("stopping: connections may finish for %g s", worker.DRAIN_SECONDS)
        for _, listening in self._listening:
            listening.close()
        self._children.end()
        self._reporter.is_stopping = True
        self._end(self._workers, KILL_AFTER_SECONDS)
        for role in (self._administration, self._keeper.role, self._fetcher.role):
            self._end(role, KILL_HELPER_AFTER_SECONDS)
        if self._publisher is not None:
            self._end(self._publisher.role, KILL_HELPER_AFTER_SECONDS)
            self._publisher.discard()
        if self._rotation is not None:
            self._rotation.end()
        self._access_log.close()
        self._revision.store.discard_fallback()
        return 0

    def _end(self, role: Role, seconds: float) -> None:
        """End the processes in a role; kill them after so many seconds, or at another SIGTERM or SIGINT."""
        self._children.signal(role, signal.SIGTERM)
        until = clock.monotonic_seconds() + seconds
        while self._children.of(role):
            numbers = self._wait(max(0.0, until - clock.monotonic_seconds()))
            if signal.SIGTERM in numbers or signal.SIGINT in numbers or clock.monotonic_seconds() >= until:
                self._children.signal(role, signal.SIGKILL)
                until = clock.monotonic_seconds() + seconds
            self._worker_reports.forget(self._children.reap())


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the signal is read from the wake-up socket."""
