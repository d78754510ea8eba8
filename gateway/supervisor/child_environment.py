"""The environment of the master's child processes: what they need of it, and nothing that may be a secret.

Keeps true: a fork sees in its variables only what `environment` lets through, and so does everybody who may read its
`/proc/PID/environ`. The master alone keeps the rest, which reloads may need for `${NAME}`.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import gateway
from gateway.config.environment import is_unicode
from gateway.supervisor.dumps import SWITCH

_log: Final = logging.getLogger("gateway.master")
_STAT: Final = Path("/proc/self/stat")
# proc_pid_stat(5), counted from 0 behind the parenthesis that ends the command's name: env_start and env_end.
_ENVIRONMENT_FIELDS: Final = slice(47, 49)
# What is passed on. The rest may hold passwords, which the configuration takes with `${NAME}`.
_KEPT_NAMES: Final = frozenset(
    {
        *(SWITCH, "HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"),
        # Where OpenSSL finds the system's trust store and its own settings.
        *("SSL_CERT_DIR", "SSL_CERT_FILE", "OPENSSL_CONF", "OPENSSL_MODULES"),
    }
)
# Python's own names and those of the language; MY_PYTHON_TOKEN, PYTHON_TOKEN and LC_API_KEY are none of them.
_KEPT_PATTERN: Final = re.compile(r"COVERAGE_[A-Z_]+|LC_[A-Z]+|PYTHON[A-Z0-9]+")
# How libpq finds the server and the password where the registry's URL leaves them out.
_DATABASE_PREFIX: Final = "PG"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment a child gets; a program finds the same `gateway` package that runs here."""
    kept = {
        name: text
        for name, text in variables.items()
        if name in _KEPT_NAMES or _KEPT_PATTERN.fullmatch(name) is not None
    }
    root = str(Path(gateway.__file__).parent.parent)
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        paths = [each for each in kept.get("PYTHONPATH", "").split(os.pathsep) if each not in ("", root)]
        kept["PYTHONPATH"] = os.pathsep.join((root, *paths))
    return kept


def database_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment libpq reads: for the process that opens the registry, over its channel."""
    found = {}
    for name, text in variables.items():
        if name.startswith(_DATABASE_PREFIX):
            if is_unicode(text):
                found[name] = text
            else:  # a message is JSON
                _log.error("the environment variable %s is not UTF-8, so the registry is opened without it", name)
    return found


def forget_the_rest() -> None:
    """Leave `environment` to this process, a fork, and overwrite what it was given at its start.

    The kernel shows the memory in which the variables once lay, whatever has become of them (proc_pid_environ(5)).
    """
    kept = environment(os.environ)
    os.environ.clear()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # without /proc there is nothing to read either
            start, end = map(int, _STAT.read_text().rpartition(")")[2].split()[_ENVIRONMENT_FIELDS])
            ctypes.memset(start, 0, end - start)
    os.environ.update(kept)
