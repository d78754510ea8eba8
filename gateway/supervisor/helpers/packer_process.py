"""The process that packs rotated access logs: it is started after a rotation, and ends when it has finished.

Keeps true: it is a separate program (`program` says what it can't read); it runs only when no other process wants the
processor; it ends with the master. Whenever it is stopped, no line is lost: see `logs.packing`.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from gateway.logs.error_log import begin_error_log
from gateway.logs.packing import Format, Interrupted, pack_and_delete
from gateway.supervisor.processes.channel import Channel, ChannelClosed
from gateway.supervisor.processes.dumps import forbid_reading

LOWEST_PRIORITY: Final = 19


def main() -> None:
    """The program. Arguments: descriptor of the channel, the log's path, `compress` and `keep`."""
    begin_error_log()
    with suppress(OSError):
        Path("/proc/self/comm").write_text("gateway-packs", encoding="ascii")  # what ps and top show
    with suppress(OSError):
        os.nice(LOWEST_PRIORITY)
    forbid_reading()
    descriptor, path, compress, keep = sys.argv[1:]
    serve(Channel(socket.socket(fileno=int(descriptor))), Path(path), cast("Format", compress), int(keep))


def serve(channel: Channel, path: Path, compress: Format, keep: int) -> None:
    """Pack and delete, and tell the master what came of it; stop if the master has ended."""

    def goes_on() -> bool:
        try:
            channel.receive()
        except ChannelClosed:
            return False
        return True

    with suppress(Interrupted, ChannelClosed):
        outcome = pack_and_delete(path, compress, keep, goes_on)
        channel.send({"is": "packed", "busy": outcome.busy, "problems": outcome.problems})


if __name__ == "__main__":
    main()
