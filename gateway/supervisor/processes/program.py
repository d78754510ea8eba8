"""Turns a fork of the master into a separate program by exec, so that it has nothing of the master's memory.

Keeps true: such a process has no private key, no TLS context and no password of the configuration, neither in memory
nor in its environment. It has only the descriptors that it is given, and standard error. But it runs as the same user,
so an attacker who takes it over can read that user's files.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

from gateway.supervisor.processes.environment import environment

# Only the master handles these; a terminal sends the first two to all processes in the foreground.
_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class _Open(Protocol):
    def fileno(self) -> int: ...


def become(module: str, handed_on: Sequence[_Open], *arguments: str) -> NoReturn:
    """Run a module as the program of this new fork; its arguments: the descriptors' numbers, then `arguments`.

    Raises `OSError` if Python can't be started.
    """
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    descriptors = [each.fileno() for each in handed_on]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-P", *_quiet(sys.warnoptions), "-m", module, *map(str, descriptors), *arguments]
    os.execve(sys.executable, command, environment(os.environ))  # noqa: S606 - no shell is wanted


def _quiet(options: Sequence[str]) -> Sequence[str]:
    """Python's options that hide cryptography's warnings about unusual names in certificates, as `gateway.cli.app`."""
    return () if options else ("-W", "ignore::UserWarning")
