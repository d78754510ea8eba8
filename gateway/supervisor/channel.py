"""The wire between the master and one other process: JSON objects, one a line, over a socket pair.

Keeps true: neither side ever waits for the other; what a broken peer sends ends the channel, nothing else.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

import orjson

# A status report of a busy worker is a few KiB; a configuration file's source may be a megabyte.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024

Message = dict[str, Any]

# The master asks whether a process's loop still turns, and what it hears.
PING: Final[Message] = {"do": "ping"}
PONG: Final[Message] = {"is": "pong"}


class ChannelClosed(Exception):  # noqa: N818 - named for what happened
    """The other process is gone, or no longer makes sense."""


class Channel:
    """One end, non-blocking."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._incoming = b""
        self._outgoing = b""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two ends, for a fork."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """The descriptor, for a selector or an event loop."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """True when `flush` should be called once the socket takes bytes again."""
        return bool(self._outgoing)

    def send(self, message: Message) -> None:
        """Send, or keep what the socket does not take. Raises `ChannelClosed`."""
        self._outgoing += _line(message)
        if len(self._outgoing) > MAX_MESSAGE_BYTES:
            raise ChannelClosed("the other process does not read")
        self.flush()

    def flush(self) -> None:
        """Send what is left. Raises `ChannelClosed`."""
        while self._outgoing:
            try:
                count = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            self._outgoing = self._outgoing[count:]

    def receive(self) -> list[Message]:
        """The messages that have come. Raises `ChannelClosed` when the other end is gone and all are read."""
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not data:
                if b"\n" in self._incoming:
                    break
                raise ChannelClosed("the other process closed the channel")
            self._incoming += data
        *lines, self._incoming = self._incoming.split(b"\n")
        if len(self._incoming) > MAX_MESSAGE_BYTES:
            raise ChannelClosed("a message is too long")
        try:
            return [message for line in lines if isinstance(message := _read(line), dict)]
        except (ValueError, RecursionError) as error:
            raise ChannelClosed("a message is no JSON") from error

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _line(message: Message) -> bytes:
    """Where a folder's name is not UTF-8, its path holds surrogates. orjson refuses them."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return json.dumps(message).encode("ascii") + b"\n"


def _read(line: bytes) -> object:
    """The other way round. Raises `ValueError`."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)
