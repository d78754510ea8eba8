"""What a worker needs of an access log, wherever its lines go: a file, journald or a syslog server.

Keeps true: `write` neither blocks nor raises, so a log that is full or away never holds up a request.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class AccessLogOutput(Protocol):
    """Takes the lines of the access log."""

    @property
    def dropped_lines(self) -> int:
        """How many lines were lost since the start."""

    @property
    def is_current(self) -> bool:
        """False if the log is a file that has another name now."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop from now on; call it after a fork, in the process that writes."""

    def write(self, line: bytes) -> None:
        """Add one line, newline included."""

    def reopen(self) -> None:
        """Open the file, or connect, again: after a log rotation, or when the server has another address."""

    async def finish(self) -> None:
        """Write or send what is pending, for a short time at most."""

    def close(self) -> None:
        """End; lines that are still pending are lost, and counted."""
