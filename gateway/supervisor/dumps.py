"""The memory of the gateway's processes stays off the disk, and other processes of its user can't read it.

Keeps true: no process leaves a core dump, which would hold keys, passwords and mail. Another process of the same user
can't attach to one of the gateway's, nor read its memory or its environment (`PR_SET_DUMPABLE`, prctl(2)). That holds
for the master too, so a worker that was taken over finds no secret there.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

# Set to 1 where a profiler or a debugger of the gateway's own user has to look into its processes.
SWITCH: Final = "GATEWAY_DUMPABLE"
_PR_SET_DUMPABLE: Final = 4


def forbid_core_dumps() -> None:
    """For this process and all that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_reading() -> None:
    """Where `SWITCH` is set: Linux forbids it by itself in a process that took another user."""
    if sys.platform == "linux" and os.environ.get(SWITCH) == "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def forbid_reading() -> None:
    """Keep other processes of this user out, unless `SWITCH` is set. A new program has to ask for this itself."""
    if sys.platform == "linux" and os.environ.get(SWITCH) != "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
