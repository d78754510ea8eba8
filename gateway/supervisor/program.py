"""From a fork of the master to a program of its own, so that nothing of the master's memory is in it.

Keeps true: such a process holds no private key, no TLS context and none of the configuration's passwords, neither in
memory nor in its environment; of the master's descriptors it has those that it is given, and standard error. It runs as
the same user, though: whoever takes it over can read what that user can read.
"""

from __future__ import annotations

import os
import signal
import site
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol

import gateway

# What of the environment is passed on. The rest may hold passwords, which the configuration takes with `${NAME}`.
# The two of OpenSSL name the store of roots by which servers are verified.
_KEPT_NAMES: Final = frozenset(
    {"GATEWAY_DUMPABLE", "HOME", "LANG", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "VIRTUAL_ENV"}
)
_KEPT_PREFIXES: Final = ("COVERAGE_", "LC_", "PYTHON")
# How libpq finds the server and the password where the registry's URL leaves them out.
_DATABASE_PREFIX: Final = "PG"
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
    command = [sys.executable, "-P", "-m", module, *map(str, descriptors), *arguments]
    os.execve(sys.executable, command, environment(os.environ))  # noqa: S606 - no shell is wanted


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment the program gets; it finds the same `gateway` package that runs here."""
    kept = {name: text for name, text in variables.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    root = str(Path(gateway.__file__).parent.parent)
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept


def database_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment libpq reads: for who opens the registry, over its channel."""
    return {name: text for name, text in variables.items() if name.startswith(_DATABASE_PREFIX)}
