"""The server's side of an HTTP/2 connection (RFC 9113): bytes in, events out; answers in, bytes out. Does no I/O.

Keeps true: what a connection holds is bounded by `Limits`: a frame, a field block, the bodies that fit into the receive
windows, and the frames that the client has caused. An answer's body stays with the owner until the client wants it.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.http import http2_frames as frames
from gateway.http.fields import Fields
from gateway.http.http2_frames import ConnectionFault, ErrorCode
from gateway.http.http2_limits import Limits
from gateway.http.http2_receiver import END_ANNOUNCED, Receiver
from gateway.http.http2_state import ConnectionState
from gateway.http.http2_streams import BODY_DUE, HEAD_DUE, NOTHING_DUE, ConnectionEnded, Event


class OrderError(GatewayError):
    """The owner sent the parts of an answer in the wrong order: a fault of the program, not of the client."""


class Http2Codec:
    """A client's connection. Its owner passes on what it receives, acts on the events and sends `take_output`.

    Events come in the order of the frames: an event may be about a stream that a later one of the same call ends.
    Sending on a stream that has ended does nothing.
    """

    __slots__ = ("_receiver", "_state")

    def __init__(self, limits: Limits) -> None:
        self._state = ConnectionState(limits)
        self._receiver = Receiver(self._state)
        self._send_preface()

    def _send_preface(self) -> None:
        limits = self._state.limits
        settings = {
            frames.MAX_CONCURRENT_STREAMS: limits.streams,
            frames.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            frames.MAX_HEADER_LIST_SIZE: limits.list_bytes,
            frames.ENABLE_CONNECT_PROTOCOL: 1,
            frames.NO_RFC7540_PRIORITIES: 1,
        }
        self._state.output.control(frames.settings_frame(settings))
        if larger := limits.connection_window_bytes - frames.FIRST_WINDOW_BYTES:
            self._state.output.control(frames.window_update_frame(0, larger))

    def receive(self, data: bytes, now: float) -> list[Event]:
        """The events of these bytes. After `ConnectionEnded` there are none."""
        return self._receiver.receive(data, now)

    @property
    def ended(self) -> ConnectionEnded | None:
        """Why the connection has ended."""
        return self._state.ended

    @property
    def has_settings_read(self) -> bool:
        """True once the client has acknowledged the gateway's settings."""
        return self._receiver.has_settings_read

    @property
    def refuses_new_streams(self) -> bool:
        """True once the client was told which request was the last one."""
        return self._state.last_served_id != frames.MAX_STREAM_ID

    @property
    def open_streams(self) -> int:
        """How many requests are not finished."""
        return len(self._state.streams)

    def take_output(self) -> bytes:
        """What is to be sent. To be called only when the client has taken what was sent before.

        Otherwise the owner would hold what the client doesn't read, and `Limits.control_bytes` would not count it.
        """
        return self._state.output.take()

    def stalled(self, before: float) -> list[int]:
        """The streams that have had data to send since then, and no window."""
        return [stream_id for stream_id, since in self._state.blocked.items() if since < before]

    def sendable_bytes(self, stream_id: int) -> int:
        """How much `send_data` would accept."""
        stream = self._state.streams.get(stream_id)
        return 0 if stream is None else max(0, min(stream.send_window_bytes, self._state.send_window_bytes))

    def take(self, stream_id: int, size_bytes: int) -> None:
        """The owner no longer holds so much of the request's body: the client may send more."""
        self._state.take(stream_id, size_bytes)

    def drop(self, stream_id: int, size_bytes: int) -> None:
        """As `take`, but only other requests may send more: this one's body is not wanted."""
        self._state.drop(stream_id, size_bytes)

    def discard(self, stream_id: int) -> None:
        """The rest of the request is not wanted: no event about it follows, and the answer's end ends the stream."""
        stream = self._state.streams.get(stream_id)
        if stream is not None:
            stream.is_discarding = True
            self._state.take(stream_id, stream.receive_window.held_bytes)
            if stream.due == NOTHING_DUE:
                self._state.finish(stream_id, stream)

    def send_informational(self, stream_id: int, status: int, fields: Fields) -> None:
        """A head before the answer: 100, 102 or 103. HTTP/2 has no 101."""
        stream = self._state.streams.get(stream_id)
        if stream is None:
            return
        if stream.due != HEAD_DUE or not 100 <= status <= 199 or status == 101:
            raise OrderError("an informational head is not due, or does not exist in HTTP/2")
        self._state.output.block(stream_id, ((b":status", b"%d" % status),), fields, is_last=False)

    def send_head(self, stream_id: int, status: int, fields: Fields, *, is_last: bool = False) -> None:
        """The head of the answer."""
        stream = self._state.streams.get(stream_id)
        if stream is None:
            return
        if stream.due != HEAD_DUE or status < 200:
            raise OrderError("the head of an answer is not due")
        self._state.output.block(stream_id, ((b":status", b"%d" % status),), fields, is_last=is_last)
        stream.due = BODY_DUE
        if is_last:
            self._state.finish(stream_id, stream)

    def send_data(self, stream_id: int, payload: bytes, now: float, *, is_last: bool = False) -> int:
        """How many bytes of the payload are on their way. If fewer than all, `WindowOpened` says when to try again.

        `is_last` counts only if all of them are.
        """
        stream = self._state.streams.get(stream_id)
        if stream is None:
            return 0
        if stream.due != BODY_DUE:
            raise OrderError("the body of an answer is not due")
        size = accepted = len(payload)
        if size > stream.send_window_bytes or size > self._state.send_window_bytes:
            accepted = self.sendable_bytes(stream_id)
            if size and not accepted:
                self._state.blocked.setdefault(stream_id, now)
                return 0
        if accepted < size:
            self._state.blocked[stream_id] = now
            is_last = False
            payload = payload[:accepted]
        elif self._state.blocked:
            self._state.blocked.pop(stream_id, None)
        stream.send_window_bytes -= accepted
        self._state.send_window_bytes -= accepted
        if accepted or is_last:
            self._state.output.data(stream_id, payload, is_last=is_last)
        if is_last:
            self._state.finish(stream_id, stream)
        return accepted

    def await_window(self, stream_id: int, now: float) -> None:
        """There is more to send, and no window for it: `WindowOpened` says when there is one."""
        if stream_id in self._state.streams:
            self._state.blocked.setdefault(stream_id, now)

    def send_trailers(self, stream_id: int, fields: Fields) -> None:
        """The end of the answer, with trailer fields."""
        stream = self._state.streams.get(stream_id)
        if stream is None:
            return
        if stream.due != BODY_DUE:
            raise OrderError("trailers are not due")
        self._state.output.block(stream_id, (), fields, is_last=True)
        self._state.finish(stream_id, stream)

    def reset(self, stream_id: int, code: ErrorCode, now: float) -> None:
        """End a stream before its time. Too many of them end the connection: see `ended`."""
        stream = self._state.streams.get(stream_id)
        if stream is None:
            return
        if code != ErrorCode.NO_ERROR:
            try:
                self._state.own_resets.one_more(now)
            except ConnectionFault as fault:
                self._state.end(fault.code, fault.cause)
                return
        self._state.output.control(frames.rst_stream_frame(stream_id, code))
        self._state.close(stream_id, stream, is_reset=True)

    def announce_end(self) -> None:
        """Ask the client for no more requests; those under way are served.

        When the client has answered, the gateway accepts no more. The owner calls `refuse_new_streams` if it doesn't.
        """
        if not self._state.is_end_announced:
            self._state.is_end_announced = True
            self._state.output.control(frames.goaway_frame(frames.MAX_STREAM_ID, ErrorCode.NO_ERROR, b""))
            self._state.output.control(frames.frame(frames.PING, 0, 0, END_ANNOUNCED))

    def refuse_new_streams(self) -> None:
        """Say which request was the last one. Later ones were not served, and the client may send them elsewhere."""
        self._state.refuse_new_streams()

    def end(self, code: ErrorCode, cause: str) -> None:
        """End the connection with all its streams. Nothing more is read."""
        self._state.end(code, cause)
