"""The admin process: a small HTTP server for status, health and metrics. It is separate so that it can't slow a worker.

Keeps true: it is a separate program (`program` says what it can't read), gets everything that it shows from the master,
and ends with the master.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final, cast

import orjson
from aiohttp import web

from gateway.admin.api import make_app
from gateway.admin.state import LiftAnswer, State
from gateway.errors import OperationError
from gateway.logs.error_log import begin_error_log
from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.dumps import forbid_reading

# The master answers within a little more than a second, with what it knows by then.
MASTER_SECONDS: Final = 3.0
# A scraper sends a request every 15 s to a minute.
KEEPALIVE_SECONDS: Final = 75.0
# For requests that are being answered when the gateway stops.
CLOSE_SECONDS: Final = 1.0


def main() -> None:
    """The program. Arguments: descriptors of the channel and of the listening socket, the address it listens on."""
    begin_error_log()
    with suppress(OSError):
        Path("/proc/self/comm").write_text("gateway-admin", encoding="ascii")  # what ps and top show
    forbid_reading()
    channel, listening, bound_host = sys.argv[1:]
    asyncio.run(
        serve(
            Channel(socket.socket(fileno=int(channel))),
            socket.socket(fileno=int(listening)),
            bound_host,
        )
    )


async def serve(channel: Channel, listening: socket.socket, bound_host: str) -> None:
    """Serve until SIGTERM, or until the master has ended."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    master = MasterClient(channel, stopping)
    runner = web.AppRunner(
        make_app(bound_host, master.state, master.lift),
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=CLOSE_SECONDS,
    )
    await runner.setup()
    await web.SockSite(runner, listening).start()
    await stopping.wait()
    await runner.cleanup()
    master.close()


class MasterClient:
    """Sends questions to the master and waits for the answers."""

    def __init__(self, channel: Channel, is_gone: asyncio.Event) -> None:
        """`is_gone` is set when the master has ended."""
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[object]] = {}
        self._channel = AsyncChannel(channel, asyncio.get_running_loop(), self._hear, is_gone.set)

    async def state(self) -> State:
        """The gateway's state. Raises `OperationError` if the master does not answer."""
        return cast("State", await self._ask({"do": "state"}))

    async def lift(self, address: str, asked_by: str) -> LiftAnswer:
        """Let an address in again. Raises `OperationError` if the master does not answer."""
        return cast("LiftAnswer", await self._ask({"do": "lift", "address": address, "asked_by": asked_by}))

    async def _ask(self, message: Message) -> object:
        number = next(self._numbers)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._channel.send({**message, "number": number})
        try:
            async with asyncio.timeout(MASTER_SECONDS):
                return await answer
        except TimeoutError as error:
            raise OperationError(
                f"the master process did not answer within {MASTER_SECONDS:g} s",
                "read the gateway's log, and restart the gateway if it hangs",
            ) from error
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Receive no more messages."""
        self._channel.close()

    def _hear(self, message: Message) -> None:
        match message:
            case {"is": "state", "number": int(number), "state": dict(found)} | {
                "is": "lift",
                "number": int(number),
                "answer": dict(found),
            }:
                if (answer := self._waiting.get(number)) is not None and not answer.done():
                    answer.set_result(_as_text(found))


def _as_text(found: dict[str, object]) -> object:
    """The message with bytes that are not UTF-8, in paths for example, replaced by question marks."""
    try:
        orjson.dumps(found)
    except TypeError:
        return orjson.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    return found


if __name__ == "__main__":
    main()
