"""From a fork of the master to a program of its own, so that nothing of the master's memory is in it.

Keeps true: such a process holds no private key, no TLS context and none of the configuration's passwords, neither in
memory nor in its environment; of the master's descriptors it has those that it is given, and standard error. It runs as
the same user, though: whoever takes it over can read what that user can read.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

from gateway.supervisor.child_environment import environment

# The master's business: the terminal sends the first two to every process in front.
_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class _Open(Protocol):
    def fileno(self) -> int: ...


def become(module: str, handed_on: Sequence[_Open], *arguments: str) -> NoReturn:
    """Let this process, a fresh fork, be a module's program; its arguments are the descriptors' numbers, then yours.

    Raises `OSError` where there is no Python to run.
    """
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    descriptors = [each.fileno() for each in handed_on]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-P", *_quiet(sys.warnoptions), "-m", module, *map(str, descriptors), *arguments]
    os.execve(sys.executable, command, environment(os.environ))  # noqa: S606 - no shell is wanted


def _quiet(options: Sequence[str]) -> Sequence[str]:
    """As in `gateway.cli.app`: without what cryptography has to say of odd names in lists and certificates."""
    return () if options else ("-W", "ignore::UserWarning")
