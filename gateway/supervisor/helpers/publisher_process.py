"""The publisher process: it answers the workers' questions about lists, certificates and OCSP.

Keeps true: it is a separate program (`program` says what it can't read), so that no worker has a key that signs OCSP
answers; it ends with the master.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

from gateway.logs.error_log import begin_error_log
from gateway.publishing.server import PublishingServer
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel
from gateway.supervisor.processes.dumps import forbid_reading


def main() -> None:
    """The program. Arguments: descriptors of the channel and of the listening socket."""
    begin_error_log()
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("gateway-publish", encoding="ascii")  # what ps and top show
    forbid_reading()
    channel, listening = map(int, sys.argv[1:])
    asyncio.run(serve(Channel(socket.socket(fileno=channel)), socket.socket(fileno=listening)))


async def serve(channel: Channel, listening: socket.socket) -> None:
    """Serve until SIGTERM, or until the master has ended."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    publisher = PublishingServer(listening)

    def is_alone() -> None:
        publisher.clean_up()
        stopping.set()

    link = AsyncChannel(channel, loop, publisher.hear, is_alone)
    await stopping.wait()
    link.close()
    await publisher.close()


if __name__ == "__main__":
    main()
