"""The master's side of `access_log.rotate`: it looks at the file, renames it, and has rotated files packed.

Keeps true: lines go on being written whatever fails here; a failure is logged with its remedy, and tried again. Workers
open the new file as after SIGUSR1. The old one is packed when they have all closed it: see `logs.packing`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway import clock
from gateway.config.model import Rotation as Settings
from gateway.errors import OperationError
from gateway.logs.rotation import Rotation
from gateway.supervisor.processes.channel import Channel, ChannelClosed, Message
from gateway.supervisor.processes.forking import fork
from gateway.supervisor.processes.program import become

LOOK_SECONDS: Final = 1.0  # one call of lstat: at 2,000 requests a second the file grows by 2 MB meanwhile
PACK_AFTER_SECONDS: Final = 2.0  # workers take milliseconds to open the new file
# Until packing is tried again after a failure, or while a process has the file open: longer each time.
FIRST_AGAIN_SECONDS: Final = 5.0
MAX_AGAIN_SECONDS: Final = 60.0
REOPEN_AGAIN_SECONDS: Final = 10.0  # until it is tried again to open a log that another program has renamed
REPORT_AGAIN_SECONDS: Final = 600.0  # a failure that lasts is logged at this interval
_MODULE: Final = "gateway.supervisor.helpers.packer_process"
_NAME: Final = "the process that packs access logs"

_log = logging.getLogger("gateway.access_log")


class LogRotation:
    """Rotates the access log of a running gateway. Its times are monotonic seconds, except for the files' ages."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        reopen: Callable[[], None],
        is_current: Callable[[], bool],
        let_go: Callable[[], None],
    ) -> None:
        """`reopen` lets all processes open the log again; `is_current`: they have it open. `let_go` as for `fork`."""
        self._path = path
        self._settings = settings
        self._rotation = Rotation(path, settings.size_bytes, settings.age_seconds)
        self._reopen = reopen
        self._is_current = is_current
        self._let_go = let_go
        self._packing: Channel | None = None
        self._pack_at = clock.monotonic_seconds()  # what an earlier run left behind
        self._again_seconds = FIRST_AGAIN_SECONDS
        self._look_at = 0.0
        self._reopen_at = 0.0
        self._reported: dict[str, float] = {}  # a failure, and when it was logged

    def tick(self) -> None:
        """Do what is due."""
        now = clock.monotonic_seconds()
        if self._packing is not None:
            self._hear(self._packing, now)
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if now >= self._reopen_at and not self._is_current():
            self._reopen()
            if not self._is_current():
                self._reopen_at = now + REOPEN_AGAIN_SECONDS
        self._look(now)
        if self._packing is None and now >= self._pack_at:
            self._pack(now)

    def end(self) -> None:
        """Stop packing; the next start finishes it. Also called in a new child of the master."""
        if self._packing is not None:
            self._packing.close()
            self._packing = None

    def _look(self, now: float) -> None:
        unix_seconds = clock.unix_seconds()
        try:
            state = self._rotation.due(unix_seconds)
            target = None if state is None else self._rotation.rotate(state, unix_seconds)
        except OperationError as error:
            self._report(error.cause, error.remedy, now)
            return
        if state is not None and target is not None:
            _log.info("access log %s: rotated to %s (%d bytes)", self._path, target.name, state.st_size)
            self._reopen()
            self._pack_in(PACK_AFTER_SECONDS, now)

    def _pack(self, now: float) -> None:
        self._pack_at = float("inf")
        try:
            _, self._packing = fork(_NAME, self._leave, self._become)
        except OperationError as error:
            self._report(error.cause, error.remedy, now)
            self._pack_again(now)

    def _leave(self) -> None:
        self.end()
        self._let_go()

    def _become(self, channel: Channel) -> None:
        become(_MODULE, (channel,), str(self._path), self._settings.compress, str(self._settings.keep))

    def _hear(self, packing: Channel, now: float) -> None:
        try:
            messages = packing.receive()
        except ChannelClosed:
            self.end()
            self._report(f"{_NAME} ended before it had finished", "see the lines above; it is started again", now)
            self._pack_again(now)
            return
        for message in messages:
            self.end()
            self._finish(message, now)

    def _finish(self, message: Message, now: float) -> None:
        for cause, remedy in message["problems"]:
            self._report(cause, remedy, now)
        if message["busy"]:
            self._reopen()  # a worker may have been unable to open the new file
        if message["busy"] or message["problems"]:
            self._pack_again(now)
        else:
            self._again_seconds = FIRST_AGAIN_SECONDS

    def _pack_again(self, now: float) -> None:
        self._pack_in(self._again_seconds, now)
        self._again_seconds = min(MAX_AGAIN_SECONDS, 2 * self._again_seconds)

    def _pack_in(self, seconds: float, now: float) -> None:
        """Pack after so many seconds, or earlier if that is planned: rotations in quick succession put nothing off."""
        self._pack_at = min(self._pack_at, now + seconds)

    def _report(self, cause: str, remedy: str, now: float) -> None:
        self._reported = {text: at for text, at in self._reported.items() if now - at < REPORT_AGAIN_SECONDS}
        if cause not in self._reported:
            self._reported[cause] = now
            _log.error("%s; %s", cause, remedy)
