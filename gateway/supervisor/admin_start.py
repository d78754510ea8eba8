"""From a fork of the master to the admin process: a new program, so that nothing of the master's memory is in it.

Keeps true: the admin process holds no private key, no TLS context and none of the configuration's passwords, neither in
memory nor in its environment; of the master's descriptors it has its listening socket, the channel and standard
error. It runs as the same user, though: whoever takes it over can read what that user can read.
"""

from __future__ import annotations

import os
import signal
import site
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import gateway
from gateway.config.model import Admin, Listener
from gateway.errors import OperationError
from gateway.supervisor.channel import Channel
from gateway.supervisor.sockets import open_listener

_MODULE: Final = "gateway.supervisor.admin_process"
# What of the environment is passed on. The rest may hold passwords, which the configuration takes with `${NAME}`.
_KEPT_NAMES: Final = frozenset({"HOME", "LANG", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"})
_KEPT_PREFIXES: Final = ("COVERAGE_", "LC_", "PYTHON")
# The master's business: the terminal sends the first two to every process in front.
_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def open_admin(admin: Admin) -> socket.socket:
    """The listening socket. Raises `OperationError`."""
    try:
        return open_listener(Listener(admin.address, admin.host, admin.port))
    except OperationError as error:
        raise OperationError(f"admin.address: {error.cause}", error.remedy) from error


def become_admin_process(channel: Channel, listening: socket.socket, bound_host: str) -> NoReturn:
    """Let this process, a fresh fork, be the admin process. Raises `OSError` where there is no Python to run."""
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (channel.fileno(), listening.fileno()):
        os.set_inheritable(descriptor, True)
    arguments = [sys.executable, "-P", "-m", _MODULE, str(channel.fileno()), str(listening.fileno()), bound_host]
    os.execve(sys.executable, arguments, environment(os.environ))  # noqa: S606 - no shell is wanted


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment the admin process gets; it finds the same `gateway` package that runs here."""
    kept = {name: text for name, text in variables.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    root = str(Path(gateway.__file__).parent.parent)
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept
