"""The master process: opens the sockets, forks the workers, and keeps their number.

Keeps true: the sockets and the TLS contexts exist before the first fork, so all workers share them; a
worker that dies is replaced, ever more slowly if it keeps dying; the master itself serves nobody and
loads nothing that a request could reach.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import Final

from gateway import clock
from gateway.config.model import Config, Listener
from gateway.logs.writer import AccessLogWriter
from gateway.proxy.service import upstream_tls
from gateway.supervisor import worker
from gateway.supervisor.snapshot import build_snapshot
from gateway.supervisor.sockets import open_listener

# A worker that lived this long did not die of its start.
STEADY_SECONDS: Final = 10.0
FIRST_DELAY_SECONDS: Final = 0.1
MAX_DELAY_SECONDS: Final = 30.0
# After a worker's own drain time the master stops asking.
KILL_AFTER_SECONDS: Final = worker.DRAIN_SECONDS + 5.0

_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})

_log = logging.getLogger("gateway.master")


class Master:
    """Runs until it is told to stop."""

    def __init__(self, config: Config) -> None:
        """Raises `ConfigError` or `OperationError` where serving can't begin."""
        self._config = config
        self._snapshot = build_snapshot(config)
        for upstream in config.upstreams:
            upstream_tls(upstream)
        self._access_log = AccessLogWriter(config.access_log.path)
        self._listeners: list[tuple[Listener, socket.socket]] = []
        for listener in config.listen:
            self._listeners.append((listener, open_listener(listener)))
        self._alive_read, self._alive_write = os.pipe()
        self._workers: dict[int, float] = {}  # process id → when it was started, monotonic seconds
        self._delay_seconds = 0.0
        self._start_at: list[float] = []  # when replacements are due, monotonic seconds

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for _ in range(self._config.workers):
            self._fork()
        addresses = ", ".join(listener.address for listener in self._config.listen)
        _log.info("serving on %s with %d worker(s)", addresses, self._config.workers)
        while True:
            number = self._wait()
            if number in (signal.SIGTERM, signal.SIGINT):
                return self._stop()
            if number == signal.SIGUSR1:
                self._access_log.reopen()
                self._tell(signal.SIGUSR1)
            elif number == signal.SIGHUP:
                _log.warning("reload is not available yet; restart the gateway to use a changed file")
            self._reap()
            self._replace()

    def _wait(self) -> int:
        """The next signal's number, or 0 when a replacement is due."""
        if not self._start_at:
            return signal.sigwaitinfo(_SIGNALS).si_signo
        seconds = max(0.0, min(self._start_at) - clock.monotonic_seconds())
        info = signal.sigtimedwait(_SIGNALS, seconds)
        return 0 if info is None else info.si_signo

    def _fork(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process:
            self._workers[process] = clock.monotonic_seconds()
            return
        status = 1
        try:
            os.close(self._alive_write)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            worker.serve(self._snapshot, self._listeners, self._access_log, self._alive_read)
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it was, the child must not go on as a second master
            _log.exception("worker %d failed", os.getpid())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Note which workers ended, and when their replacements are due."""
        while self._workers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            started = self._workers.pop(process, None)
            if started is None:
                continue
            now = clock.monotonic_seconds()
            is_steady = now - started >= STEADY_SECONDS
            self._delay_seconds = (
                0.0 if is_steady else min(MAX_DELAY_SECONDS, max(FIRST_DELAY_SECONDS, self._delay_seconds * 2))
            )
            self._start_at.append(now + self._delay_seconds)
            _log.error("worker %d ended (%s); a new one starts in %.1f s", process, _end(status), self._delay_seconds)

    def _replace(self) -> None:
        now = clock.monotonic_seconds()
        due = [at for at in self._start_at if at <= now]
        self._start_at = [at for at in self._start_at if at > now]
        for _ in due:
            self._fork()

    def _tell(self, number: signal.Signals) -> None:
        for process in self._workers:
            os.kill(process, number)

    def _stop(self) -> int:
        """Let the workers drain, then make sure that they are gone."""
        _log.info("stopping: connections may finish for %g s", worker.DRAIN_SECONDS)
        for _, listening in self._listeners:
            listening.close()
        self._tell(signal.SIGTERM)
        until = clock.monotonic_seconds() + KILL_AFTER_SECONDS
        while self._workers:
            info = signal.sigtimedwait(_SIGNALS, max(0.0, until - clock.monotonic_seconds()))
            if info is None or info.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._tell(signal.SIGKILL)  # out of time, or asked a second time
                until = clock.monotonic_seconds() + KILL_AFTER_SECONDS
            self._note_ended()
        self._access_log.close()
        return 0

    def _note_ended(self) -> None:
        while self._workers:
            process, _ = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            self._workers.pop(process, None)


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
