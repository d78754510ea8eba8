"""Protects the memory of the gateway's processes: no core dumps, and no access by other processes of the same user.

Keeps true: no process leaves a core dump, which would have keys, passwords and mail. Another process of the same user
can't attach to a process of the gateway, nor read its memory or environment (`PR_SET_DUMPABLE`, prctl(2)). This
includes the master, so an attacker in a worker can't read the master's secrets.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

# Set to 1 if a profiler or a debugger that runs as the gateway's user needs access to its processes.
SWITCH: Final = "GATEWAY_DUMPABLE"
_PR_SET_DUMPABLE: Final = 4


def forbid_core_dumps() -> None:
    """Forbid core dumps for this process and all processes that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_reading() -> None:
    """Allow access if `SWITCH` is set: Linux forbids it in a process that has changed its user."""
    if sys.platform == "linux" and os.environ.get(SWITCH) == "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def forbid_reading() -> None:
    """Forbid access, unless `SWITCH` is set. Each new program must call this, because exec allows access again."""
    if sys.platform == "linux" and os.environ.get(SWITCH) != "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
