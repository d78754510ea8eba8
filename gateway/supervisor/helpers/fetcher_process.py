"""The fetcher process: it downloads revocation lists and serves no clients.

Keeps true: it is a separate program (`program` says what it can't read) and listens on no socket; the plan comes over
the channel; it ends with the master.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from gateway.fetching.fetcher import Fetcher
from gateway.fetching.plan import from_message
from gateway.logs.error_log import begin_error_log
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.dumps import forbid_reading


def main() -> None:
    """The program. Argument: descriptor of the channel."""
    begin_error_log()
    with suppress(OSError):
        Path("/proc/self/comm").write_text("gateway-fetch", encoding="ascii")  # what ps and top show
    forbid_reading()
    asyncio.run(serve(Channel(socket.socket(fileno=int(sys.argv[1])))))


async def serve(channel: Channel) -> None:
    """Fetch until SIGTERM, or until the master has ended."""
    loop = asyncio.get_running_loop()
    fetcher = Fetcher()

    def hear(message: Message) -> None:
        match message:
            case {"do": "fetch", "plan": dict(plan)}:
                fetcher.follow(*from_message(plan))
            case {"do": "fetch now"}:
                fetcher.fetch_now()

    link = AsyncChannel(channel, loop, hear, fetcher.stop)
    loop.add_signal_handler(signal.SIGTERM, fetcher.stop)
    await fetcher.run()
    link.close()


if __name__ == "__main__":
    main()
