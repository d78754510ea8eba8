"""One end of a channel in an event loop.

Keeps true: what the socket does not take at once is sent as soon as it does; a message that can't be obeyed keeps none
after it from being heard; a closed channel is told once; a ping is answered for as long as the loop turns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.supervisor.channel import PING, PONG, Channel, ChannelClosed, Message

_log = logging.getLogger("gateway.worker")


class Link:
    """Hears and sends, without ever blocking the loop."""

    def __init__(
        self,
        channel: Channel,
        loop: asyncio.AbstractEventLoop,
        hear: Callable[[Message], None],
        on_closed: Callable[[], None],
    ) -> None:
        """`hear` gets each message but pings; `on_closed` is called when the other process is gone."""
        self._channel = channel
        self._loop = loop
        self._hear = hear
        self._on_closed = on_closed
        self._is_closed = False
        loop.add_reader(channel.fileno(), self._readable)

    def send(self, message: Message) -> None:
        """Send, now or as soon as there is room."""
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
        """Hear no more."""
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
            except Exception:  # noqa: BLE001 - what follows may be a revocation, and must be heard
                _log.exception("a message from the other process could not be obeyed")

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
