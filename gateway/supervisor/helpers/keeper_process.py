"""The keeper process: it renews lists, warns and sends mails.

Keeps true: it is a separate program (`program` says what it can't read) and listens on no socket; its plan, with
passwords, comes only over the channel; it leaves no core dump; it ends with the master.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from gateway.keeper.keeper import Keeper
from gateway.keeper.plan import from_message
from gateway.logs.error_log import begin_error_log
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.dumps import forbid_reading


def main() -> None:
    """The program. Argument: descriptor of the channel."""
    begin_error_log()
    with suppress(OSError):
        Path("/proc/self/comm").write_text("gateway-keeper", encoding="ascii")  # what ps and top show
    forbid_reading()
    asyncio.run(serve(Channel(socket.socket(fileno=int(sys.argv[1])))))


async def serve(channel: Channel) -> None:
    """Work until SIGTERM, or until the master has ended."""
    loop = asyncio.get_running_loop()
    keeper = Keeper(lambda report: link.send({"is": "kept", "report": report}))

    def hear(message: Message) -> None:
        match message:
            case {"do": "keep", "plan": None | dict() as plan, "environment": dict(variables)}:
                os.environ.update(variables)  # for libpq; /proc/PID/environ does not show later changes
                keeper.follow(None if plan is None else from_message(plan))
            case {"do": "tell outages", "outages": list(lines)}:
                keeper.hear_outages(tuple(map(str, lines)))

    link = AsyncChannel(channel, loop, hear, keeper.stop)
    loop.add_signal_handler(signal.SIGTERM, keeper.stop)
    await keeper.run()
    link.close()


if __name__ == "__main__":
    main()
