"""The environment of the master's child processes: the variables that they need, and none that may be a secret.

Keeps true: a child's variables, and its `/proc/PID/environ`, have only what `environment` returns. Only the master
keeps the rest, which a reload may need for `${NAME}`.
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
from gateway.supervisor.processes.dumps import SWITCH

_log: Final = logging.getLogger("gateway.master")
_STAT: Final = Path("/proc/self/stat")
# proc_pid_stat(5), counted from 0 behind the parenthesis that ends the command's name: env_start and env_end.
_ENVIRONMENT_FIELDS: Final = slice(47, 49)
# The variables that are passed on. Others may hold passwords, which the configuration reads with `${NAME}`.
_KEPT_NAMES: Final = frozenset(
    {
        *(SWITCH, "HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"),
        # Where OpenSSL finds the system's trust store and its own settings.
        *("SSL_CERT_DIR", "SSL_CERT_FILE", "OPENSSL_CONF", "OPENSSL_MODULES"),
    }
)
# Variables of Python, coverage and the locale. MY_PYTHON_TOKEN, PYTHON_TOKEN and LC_API_KEY don't match.
_KEPT_PATTERN: Final = re.compile(r"COVERAGE_[A-Z_]+|LC_[A-Z]+|PYTHON[A-Z0-9]+")
# libpq reads the server and the password from these variables if they are not in the registry's URL.
_DATABASE_PREFIX: Final = "PG"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a child gets, with PYTHONPATH so that it imports the same `gateway` package."""
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
    """The variables that libpq reads. The process that opens the registry gets them over its channel."""
    found = {}
    for name, text in variables.items():
        if name.startswith(_DATABASE_PREFIX):
            if is_unicode(text):
                found[name] = text
            else:  # a message is JSON, which has Unicode text only
                _log.error("the environment variable %s is not UTF-8, so the registry is opened without it", name)
    return found


def forget_the_rest() -> None:
    """Keep only `environment` in this process, a fork, and overwrite the memory that had the variables at the start.

    The kernel shows that memory in /proc/PID/environ, even after a variable was removed (proc_pid_environ(5)).
    """
    kept = environment(os.environ)
    os.environ.clear()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # without /proc other processes can't read the memory either
            start, end = map(int, _STAT.read_text().rpartition(")")[2].split()[_ENVIRONMENT_FIELDS])
            ctypes.memset(start, 0, end - start)
    os.environ.update(kept)
