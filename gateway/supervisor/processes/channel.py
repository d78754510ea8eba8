"""The connection between the master and one other process: JSON objects, one per line, over a socket pair.

Keeps true: neither side ever waits for the other; malformed messages close the channel and do no other harm.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

import orjson

from gateway.errors import GatewayError

# A status report of a busy worker is a few KiB; a configuration file's source may be a megabyte.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024

Message = dict[str, Any]

# The master's question whether a process's event loop still runs, and the answer.
PING: Final[Message] = {"do": "ping"}
PONG: Final[Message] = {"is": "pong"}


class ChannelClosed(GatewayError):  # noqa: N818 - named for what happened
    """The other process has ended, or sends malformed messages."""


class Channel:
    """One end of the connection, non-blocking."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._incoming = b""
        self._outgoing = b""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends, for a process and its fork."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """The descriptor, for a selector or an event loop."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """True if `flush` must be called when the socket accepts bytes again."""
        return bool(self._outgoing)

    def send(self, message: Message) -> None:
        """Send a message, or keep the rest that the socket does not accept yet. Raises `ChannelClosed`."""
        self._outgoing += _line(message)
        if len(self._outgoing) > MAX_MESSAGE_BYTES:
            raise ChannelClosed("the other process does not read")
        self.flush()

    def flush(self) -> None:
        """Send the kept rest. Raises `ChannelClosed`."""
        while self._outgoing:
            try:
                count = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            self._outgoing = self._outgoing[count:]

    def receive(self) -> list[Message]:
        """The messages that have arrived. Raises `ChannelClosed` if the other end is closed and all were read."""
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
            raise ChannelClosed("a message is not valid JSON") from error

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _line(message: Message) -> bytes:
    """The message as a line. A path that is not UTF-8 has surrogates, which only `json` accepts."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return json.dumps(message).encode("ascii") + b"\n"


def _read(line: bytes) -> object:
    """The message in a line. Raises `ValueError`."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)
