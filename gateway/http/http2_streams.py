"""What an HTTP/2 connection knows of its streams, and the events that it gives (RFC 9113 section 5). Does no I/O.

Keeps true: a stream that is open has one object, and closed streams have one entry each in a list of fixed length.
Every byte of a receive window belongs to the client, is held by the owner of the connection, or is on its way back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.errors import RequestError
from gateway.http.fields import Fields
from gateway.http.http2_requests import Request
from gateway.http.priority import Priority

# Frames can be under way for as long as a round trip after a stream's end. In 10 s the limits allow 100 resets by the
# gateway.
MAX_CLOSED_STREAMS: Final = 256


class RefusedRequest(NamedTuple):
    """A request that can't be read but can be answered: its list is too large, its method is not supported,
    or `:authority` and Host differ.

    No event for the request's body follows.
    """

    stream_id: int
    error: RequestError


class Data(NamedTuple):
    """A piece of a request's body. The owner calls `take` once it no longer holds it."""

    stream_id: int
    payload: bytes


class End(NamedTuple):
    """A request's end."""

    stream_id: int
    trailers: Fields


class Reset(NamedTuple):
    """A stream ended before its time. The owner may know nothing of the stream, if the request was malformed."""

    stream_id: int
    code: int
    cause: str
    by_client: bool


class WindowOpened(NamedTuple):
    """The client takes more data, after `send_data` has taken less than it was given, or `await_window`."""

    stream_id: int  # 0: perhaps on every such stream


class PriorityChanged(NamedTuple):
    """The client gave an open request another priority (RFC 9218 7.1)."""

    stream_id: int
    priority: Priority


class ClientGoesAway(NamedTuple):
    """The client will end the connection once its requests are answered, or at once if the code is an error."""

    code: int
    text: bytes


class ConnectionEnded(NamedTuple):
    """No stream is left, and nothing more is read. What `take_output` returns may still be sent."""

    code: int
    cause: str


Event = (
    Request | RefusedRequest | Data | End | Reset | WindowOpened | PriorityChanged | ClientGoesAway | ConnectionEnded
)

# What the owner has to send next on a stream.
HEAD_DUE: Final = 0
BODY_DUE: Final = 1
NOTHING_DUE: Final = 2


class ReceiveWindow:
    """How much the client may still send, on a stream or the connection."""

    __slots__ = ("_credit_bytes", "held_bytes", "left_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes = size_bytes
        self.held_bytes = 0  # received, and not yet taken
        self._credit_bytes = 0  # taken, and not yet given back

    def receive(self, size_bytes: int) -> bool:
        """Count a frame; False if it is larger than the window."""
        self.left_bytes -= size_bytes
        self.held_bytes += size_bytes
        return self.left_bytes >= 0

    def take(self, size_bytes: int) -> int:
        """The increment that the client is to be told now: 0, or at least what it has left.

        So it is told seldom, but in time also where the owner holds most of the window for a slow stream.
        """
        self.held_bytes -= size_bytes
        self._credit_bytes += size_bytes
        if self._credit_bytes < self.left_bytes:
            return 0
        increment = self._credit_bytes
        self._credit_bytes = 0
        self.left_bytes += increment
        return increment


class Stream:
    """An open stream, or one that is half closed."""

    __slots__ = (
        "due",
        "is_discarding",
        "is_receiving",
        "is_tunnel",
        "left_bytes",
        "receive_window",
        "send_window_bytes",
    )

    def __init__(self, receive_window_bytes: int, send_window_bytes: int) -> None:
        self.receive_window = ReceiveWindow(receive_window_bytes)
        self.send_window_bytes = send_window_bytes  # negative after the client made its initial window smaller
        self.is_receiving = True  # the client has not ended its request
        self.is_discarding = False  # the rest of the request is not wanted
        self.is_tunnel = False  # only DATA may follow (RFC 9113 8.5)
        self.left_bytes: int | None = None  # of the content-length
        self.due = HEAD_DUE


class ClosedStreams:
    """The last streams that have closed, and whether the gateway reset them.

    Frames for a stream that the gateway reset were perhaps sent before the client knew; others are errors.
    """

    __slots__ = ("_is_reset",)

    def __init__(self) -> None:
        self._is_reset: dict[int, bool] = {}

    def add(self, stream_id: int, *, is_reset: bool) -> None:
        """Remember one, and forget the oldest of too many."""
        if len(self._is_reset) >= MAX_CLOSED_STREAMS:
            del self._is_reset[next(iter(self._is_reset))]
        self._is_reset[stream_id] = is_reset

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._is_reset

    def is_reset(self, stream_id: int) -> bool:
        """True if the gateway reset this stream, and it is not forgotten."""
        return self._is_reset.get(stream_id, False)
