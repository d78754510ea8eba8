"""What both halves of an HTTP/2 connection share: its streams, windows and counts, and how streams end. Does no I/O.

Keeps true: a stream ends in one place, where everything that it held is given back.
"""

from __future__ import annotations

from gateway.http import http2_frames as frames
from gateway.http.fields import Fields
from gateway.http.http2_frames import ConnectionFault, ErrorCode
from gateway.http.http2_limits import Count, Limits
from gateway.http.http2_output import Output
from gateway.http.http2_streams import (
    NOTHING_DUE,
    ClosedStreams,
    ConnectionEnded,
    End,
    Event,
    ReceiveWindow,
    Reset,
    Stream,
)


def protocol_fault(cause: str) -> ConnectionFault:
    """A frame against the rules."""
    return ConnectionFault(ErrorCode.PROTOCOL_ERROR, cause)


def stream_closed() -> ConnectionFault:
    """A frame after the last one."""
    return ConnectionFault(ErrorCode.STREAM_CLOSED, "a frame is for a stream that has ended")


class ConnectionState:
    """The state of a connection."""

    __slots__ = (
        "blocked",
        "closed",
        "ended",
        "events",
        "first_window_bytes",
        "ignored",
        "is_end_announced",
        "last_served_id",
        "last_stream_id",
        "limits",
        "now",
        "output",
        "own_resets",
        "send_window_bytes",
        "streams",
        "window",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.output = Output()
        self.events: list[Event] = []  # of the bytes being read
        self.now = 0.0  # when they came
        self.streams: dict[int, Stream] = {}
        self.closed = ClosedStreams()
        self.blocked: dict[int, float] = {}  # stream that lacks a window → when it could send last
        self.last_stream_id = 0
        self.last_served_id = frames.MAX_STREAM_ID
        self.is_end_announced = False
        self.window = ReceiveWindow(limits.connection_window_bytes)
        self.send_window_bytes = self.first_window_bytes = frames.FIRST_WINDOW_BYTES
        self.own_resets = Count("requests that were reset by the gateway", limits.own_resets)
        self.ignored = Count("frames without effect", limits.ignored_frames)
        self.ended: ConnectionEnded | None = None

    def take(self, stream_id: int, size_bytes: int) -> None:
        """Give the client back what the owner no longer holds of a request's body."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return  # everything was given back as it ended
        taken = min(size_bytes, stream.receive_window.held_bytes)
        increment = stream.receive_window.take(taken)
        if increment and stream.is_receiving:
            self.output.control(frames.window_update_frame(stream_id, increment))
        self.give_back(taken)

    def drop(self, stream_id: int, size_bytes: int) -> None:
        """Give back what the owner has thrown away, on the connection only."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            dropped = min(size_bytes, stream.receive_window.held_bytes)
            stream.receive_window.held_bytes -= dropped
            self.give_back(dropped)

    def refuse_new_streams(self) -> None:
        """Say which request was the last one. Later ones were not served, and the client may send them elsewhere."""
        if self.last_served_id == frames.MAX_STREAM_ID:
            self.last_served_id = self.last_stream_id
            self.output.control(frames.goaway_frame(self.last_served_id, ErrorCode.NO_ERROR, b""))

    def end(self, code: ErrorCode, cause: str) -> None:
        """End the connection with all its streams."""
        if self.ended is None:
            self.ended = ConnectionEnded(code, cause)
            last = min(self.last_stream_id, self.last_served_id)
            self.output.control(frames.goaway_frame(last, code, cause.encode("ascii", "replace")))
            self.streams.clear()
            self.blocked.clear()

    def check_not_idle(self, stream_id: int) -> None:
        """Refuse a frame for a stream that the client has not opened."""
        if stream_id > self.last_stream_id or not stream_id & 1:
            raise protocol_fault("a frame is for a stream that was never opened")

    def check_late(self, stream_id: int) -> None:
        """A frame that opens nothing, for a stream that isn't open: it is ignored if the client may not yet know."""
        self.check_not_idle(stream_id)
        if stream_id <= self.last_served_id and not self.closed.is_reset(stream_id):
            raise stream_closed()
        self.ignored.one_more(self.now)

    def request_ended(self, stream_id: int, stream: Stream, trailers: Fields) -> None:
        """The client has sent the whole request."""
        stream.is_receiving = False
        if not stream.is_discarding:
            self.events.append(End(stream_id, trailers))
        if stream.due == NOTHING_DUE:
            self.close(stream_id, stream, is_reset=False)

    def finish(self, stream_id: int, stream: Stream) -> None:
        """The answer has ended."""
        stream.due = NOTHING_DUE
        if not stream.is_receiving:
            self.close(stream_id, stream, is_reset=False)
        elif stream.is_discarding:  # RFC 9113 8.1
            self.output.control(frames.rst_stream_frame(stream_id, ErrorCode.NO_ERROR))
            self.close(stream_id, stream, is_reset=True)

    def end_stream(self, stream_id: int, code: ErrorCode, cause: str) -> None:
        """End a stream, open or about to be, because of what the client sent."""
        self.own_resets.one_more(self.now)
        self.output.control(frames.rst_stream_frame(stream_id, code))
        self.events.append(Reset(stream_id, code, cause, by_client=False))
        stream = self.streams.get(stream_id)
        if stream is None:
            self.closed.add(stream_id, is_reset=True)
        else:
            self.close(stream_id, stream, is_reset=True)

    def close(self, stream_id: int, stream: Stream, *, is_reset: bool) -> None:
        """Forget a stream, and give back what was held of it. `is_reset`: by the gateway."""
        del self.streams[stream_id]
        self.closed.add(stream_id, is_reset=is_reset)
        if self.blocked:
            self.blocked.pop(stream_id, None)
        if held := stream.receive_window.held_bytes:
            self.give_back(held)

    def give_back(self, size_bytes: int) -> None:
        """Let the client send so much more on the connection."""
        increment = self.window.take(size_bytes)
        if increment:
            self.output.control(frames.window_update_frame(0, increment))
