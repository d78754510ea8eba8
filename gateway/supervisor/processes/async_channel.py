"""One end of a channel in an event loop.

Keeps true: bytes that the socket does not accept are sent as soon as it does; a message that can't be processed does
not stop later ones; `on_closed` is called once; pings are answered as long as the loop runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.supervisor.processes.channel import PING, PONG, Channel, ChannelClosed, Message

_log = logging.getLogger("gateway.worker")


class AsyncChannel:
    """Receives and sends messages without blocking the loop."""

    def __init__(
        self,
        channel: Channel,
        loop: asyncio.AbstractEventLoop,
        hear: Callable[[Message], None],
        on_closed: Callable[[], None],
    ) -> None:
        """`hear` gets each message except pings; `on_closed` is called when the other process has ended."""
        self._channel = channel
        self._loop = loop
        self._hear = hear
        self._on_closed = on_closed
        self._is_closed = False
        loop.add_reader(channel.fileno(), self._readable)

    def send(self, message: Message) -> None:
        """Send, now or as soon as the socket accepts it."""
        if self._is_closed:
            return
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._end()
            return
        if self._channel.has_unsent:
            self._loop.add_writer(self._channel.fileno(), self._writable)

    def close(self) -> None:
        """Receive no more messages; `on_closed` is not called."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())

    def _readable(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosed:
            self._end()
            return
        for message in messages:
            if message == PING:
                self.send(PONG)
                continue
            try:
                self._hear(message)
            except Exception:  # noqa: BLE001 - the next message may be a revocation, and must be processed
                _log.exception("a message from the other process could not be processed")

    def _writable(self) -> None:
        try:
            self._channel.flush()
        except ChannelClosed:
            self._end()
            return
        if not self._channel.has_unsent:
            self._loop.remove_writer(self._channel.fileno())

    def _end(self) -> None:
        if not self._is_closed:
            self.close()
            self._on_closed()
