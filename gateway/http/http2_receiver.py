"""Reads what an HTTP/2 client sends (RFC 9113): bytes in, events out. Does no I/O.

Keeps true: any bytes give events, the same ones however they are split, and never an exception. A malformed request
ends its stream; a frame against the rules or one over a limit ends the connection, and the event says why. Only a
frame and a field block are kept until they are whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http import http2_frames as frames
from gateway.http.fields import Fields
from gateway.http.hpack import Decoder, HeaderListTooLarge, HpackError
from gateway.http.http2_frames import ConnectionFault, ErrorCode
from gateway.http.http2_limits import SMALL_UPDATE_BYTES, Count, Limits
from gateway.http.http2_requests import MalformedError, read_request, read_trailers
from gateway.http.http2_state import ConnectionState, protocol_fault, stream_closed
from gateway.http.http2_streams import (
    ClientGoesAway,
    ConnectionEnded,
    Data,
    End,
    Event,
    PriorityChanged,
    RefusedRequest,
    Reset,
    Stream,
    WindowOpened,
)
from gateway.http.priority import parse_priority

# Sent behind the first GOAWAY: its acknowledgement says that the client has read it (RFC 9113 6.8).
END_ANNOUNCED: Final = b"goingend"


class _Block:
    """A field block of which frames are missing."""

    __slots__ = ("flags", "fragments", "size_bytes", "stream_id")

    def __init__(self, stream_id: int, flags: int, fragment: bytes) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.fragments = [fragment]
        self.size_bytes = len(fragment)


class Receiver:
    """The half of a connection that reads."""

    __slots__ = (
        "_block",
        "_buffer",
        "_client_resets",
        "_decoder",
        "_empty_data",
        "_is_preface_due",
        "_is_settings_due",
        "_pings",
        "_settings_frames",
        "_small_updates",
        "_state",
        "has_settings_read",
    )

    def __init__(self, state: ConnectionState) -> None:
        limits = state.limits
        self._state = state
        self._decoder = Decoder(max_list_bytes=limits.list_bytes, max_fields=limits.fields)
        self._buffer = b""  # an unfinished frame
        self._block: _Block | None = None
        self._is_preface_due = self._is_settings_due = True
        self._client_resets = Count("resets by the client", limits.client_resets)
        self._settings_frames = Count("SETTINGS frames", limits.settings)
        self._pings = Count("PING frames", limits.pings)
        self._empty_data = Count("empty DATA frames", limits.empty_data)
        self._small_updates = Count("small WINDOW_UPDATE frames", limits.small_updates)
        self.has_settings_read = False  # the client has acknowledged the gateway's settings

    def receive(self, data: bytes, now: float) -> list[Event]:
        """The events of these bytes. After `ConnectionEnded` there are none."""
        if self._state.ended is not None:
            return []
        events: list[Event] = []
        self._state.events = events
        self._state.now = now
        try:
            self._read(self._buffer + data if self._buffer else data)
        except ConnectionFault as fault:
            self._state.end(fault.code, fault.cause)
            events.append(ConnectionEnded(fault.code, fault.cause))
            self._buffer, self._block = b"", None
        return events

    def _read(self, data: bytes) -> None:
        at = 0
        if self._is_preface_due:
            at = len(frames.CLIENT_PREFACE)
            if not frames.CLIENT_PREFACE.startswith(data[:at]):
                raise protocol_fault("the client does not begin with HTTP/2's preface")
            if len(data) < at:
                self._buffer = data
                return
            self._is_preface_due = False
        end = len(data)
        output, most = self._state.output, self._state.limits.control_bytes
        while end - at >= frames.FRAME_HEADER_BYTES:
            upper, lower, kind, flags, stream_id = frames.unpack_frame_header(data, at)
            size = upper << 8 | lower
            if size > frames.MAX_FRAME_BYTES:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR, f"a frame has more than {frames.MAX_FRAME_BYTES} bytes"
                )
            next_at = at + frames.FRAME_HEADER_BYTES + size
            if next_at > end:
                break
            self._frame(kind, flags, stream_id & frames.MAX_STREAM_ID, data[at + frames.FRAME_HEADER_BYTES : next_at])
            if output.control_bytes > most:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"more than {most} bytes of answers are not read")
            at = next_at
        self._buffer = data[at:]

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream_id != self._block.stream_id:
                raise protocol_fault("another frame is within a field block")
            self._continuation(self._block, flags, payload)
            return
        if self._is_settings_due:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise protocol_fault("the first frame is not SETTINGS")
            self._is_settings_due = False
        handler = _HANDLERS.get(kind)
        if handler is None:  # RFC 9113 5.5
            self._state.ignored.one_more(self._state.now)
        else:
            handler(self, flags, stream_id, payload)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise protocol_fault("a HEADERS frame is not on a client's stream")
        stream = self._state.streams.get(stream_id)
        if stream is None:
            if stream_id <= self._state.last_stream_id:
                if stream_id <= self._state.last_served_id and stream_id not in self._state.closed:
                    raise protocol_fault("a stream is opened behind a later one")
                self._state.check_late(stream_id)
        elif not stream.is_receiving:
            raise stream_closed()
        fragment = frames.header_fragment(payload, flags, stream_id)
        block = _Block(stream_id, flags, fragment)
        if flags & frames.END_HEADERS:
            self._whole_block(block)
        else:
            self._block = block

    def _continuation(self, block: _Block, flags: int, payload: bytes) -> None:
        block.fragments.append(payload)
        block.size_bytes += len(payload)
        if len(block.fragments) > self._state.limits.continuations + 1:
            cause = f"more than {self._state.limits.continuations} CONTINUATION frames"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, cause)
        if block.size_bytes > self._state.limits.block_bytes:
            raise _block_too_long(self._state.limits)
        if flags & frames.END_HEADERS:
            self._block = None
            self._whole_block(block)

    def _whole_block(self, block: _Block) -> None:
        if block.size_bytes > self._state.limits.block_bytes:
            raise _block_too_long(self._state.limits)
        fields: Fields | None = None
        cause = ""
        try:
            fields = self._decoder.decode(b"".join(block.fragments))
        except HeaderListTooLarge as error:
            cause = error.cause
        except HpackError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, error.cause) from error
        stream_id = block.stream_id
        has_end = bool(block.flags & frames.END_STREAM)
        stream = self._state.streams.get(stream_id)
        if stream is not None:
            self._trailers(stream_id, stream, fields, cause, has_end=has_end)
        elif stream_id > self._state.last_stream_id:
            self._state.last_stream_id = stream_id
            if stream_id > self._state.last_served_id:
                self._state.ignored.one_more(self._state.now)
            elif len(self._state.streams) >= self._state.limits.streams:
                self._state.end_stream(
                    stream_id, ErrorCode.REFUSED_STREAM, f"more than {self._state.limits.streams} streams"
                )
            else:
                self._request(stream_id, fields, cause, has_body=not has_end)

    def _request(self, stream_id: int, fields: Fields | None, cause: str, *, has_body: bool) -> None:
        limits = self._state.limits
        stream = Stream(limits.stream_window_bytes, self._state.first_window_bytes)
        stream.is_receiving = has_body
        if fields is None:
            self._refuse(stream_id, stream, RequestError(Reason.HEADERS_TOO_LARGE, cause))
            return
        try:
            request = read_request(stream_id, fields, has_body=has_body, uri_bytes=limits.uri_bytes)
        except MalformedError as error:
            self._state.end_stream(stream_id, ErrorCode.PROTOCOL_ERROR, error.cause)
            return
        except RequestError as error:
            self._refuse(stream_id, stream, error)
            return
        stream.left_bytes = request.content_length
        stream.is_tunnel = request.protocol is not None
        self._state.streams[stream_id] = stream
        self._state.events.append(request)
        if not has_body:
            self._state.events.append(End(stream_id, []))

    def _refuse(self, stream_id: int, stream: Stream, error: RequestError) -> None:
        stream.is_discarding = True
        self._state.streams[stream_id] = stream
        self._state.events.append(RefusedRequest(stream_id, error))

    def _trailers(self, stream_id: int, stream: Stream, fields: Fields | None, cause: str, *, has_end: bool) -> None:
        if fields is None:
            self._state.end_stream(stream_id, ErrorCode.ENHANCE_YOUR_CALM, f"trailers: {cause}")
            return
        malformed, trailers = "", fields
        if not has_end or stream.is_tunnel:
            malformed = "a second field block does not end the request"
        elif stream.left_bytes:
            malformed = "the body is shorter than its content-length"
        else:
            try:
                trailers = read_trailers(fields)
            except MalformedError as error:
                malformed = error.cause
        if malformed:
            self._state.end_stream(stream_id, ErrorCode.PROTOCOL_ERROR, malformed)
            return
        self._state.request_ended(stream_id, stream, trailers)

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        stream = self._state.streams.get(stream_id)
        if stream is None:
            self._state.check_late(stream_id)
        elif not stream.is_receiving:
            raise stream_closed()
        if not self._state.window.receive(size) or (stream is not None and not stream.receive_window.receive(size)):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a DATA frame is larger than the window")
        data = frames.unpadded(payload, flags)
        if stream is None:
            self._state.give_back(size)
            return
        self._body(stream_id, stream, data, size - len(data), has_end=bool(flags & frames.END_STREAM))

    def _body(self, stream_id: int, stream: Stream, data: bytes, padding_bytes: int, *, has_end: bool) -> None:
        state = self._state
        if not data and not has_end:
            self._empty_data.one_more(state.now)
        if stream.left_bytes is not None:
            stream.left_bytes -= len(data)
            if stream.left_bytes < 0 or (has_end and stream.left_bytes):
                state.end_stream(stream_id, ErrorCode.PROTOCOL_ERROR, "the body does not have its content-length")
                return
        if stream.is_discarding:
            state.take(stream_id, len(data) + padding_bytes)
        else:
            if data:
                state.events.append(Data(stream_id, data))
            if padding_bytes:
                state.take(stream_id, padding_bytes)  # the owner does not see it
        if has_end:
            state.request_ended(stream_id, stream, [])

    def _rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        code = frames.read_rst_stream(payload, stream_id)
        stream = self._state.streams.get(stream_id)
        if stream is None:
            self._state.check_not_idle(stream_id)
            self._state.ignored.one_more(self._state.now)
            return
        self._client_resets.one_more(self._state.now)
        self._state.close(stream_id, stream, is_reset=False)
        self._state.events.append(Reset(stream_id, code, "the client reset the stream", by_client=True))

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        settings = frames.read_settings(payload, flags, stream_id, max_settings=self._state.limits.settings_in_frame)
        if flags & frames.ACK:
            self._state.ignored.one_more(self._state.now)
            self.has_settings_read = True
            return
        self._settings_frames.one_more(self._state.now)
        if (table_bytes := settings.get(frames.HEADER_TABLE_SIZE)) is not None:
            self._state.output.encoder.set_table_bytes(table_bytes)
        if (window_bytes := settings.get(frames.INITIAL_WINDOW_SIZE)) is not None:
            self._change_windows(window_bytes)
        self._state.output.control(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))

    def _change_windows(self, window_bytes: int) -> None:
        larger = window_bytes - self._state.first_window_bytes
        self._state.first_window_bytes = window_bytes
        for stream in self._state.streams.values():
            stream.send_window_bytes += larger
            if stream.send_window_bytes > frames.MAX_WINDOW_BYTES:
                raise _window_too_large()
        if larger > 0 and self._state.blocked:
            self._state.events.append(WindowOpened(0))

    def _window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.read_window_update(payload)
        if increment < SMALL_UPDATE_BYTES:
            self._small_updates.one_more(self._state.now)
        if not stream_id:
            self._state.send_window_bytes += increment
            if self._state.send_window_bytes > frames.MAX_WINDOW_BYTES:
                raise _window_too_large()
            if self._state.blocked:
                self._state.events.append(WindowOpened(0))
            return
        stream = self._state.streams.get(stream_id)
        if stream is None:
            self._state.check_not_idle(stream_id)
            self._state.ignored.one_more(self._state.now)
            return
        stream.send_window_bytes += increment
        if stream.send_window_bytes > frames.MAX_WINDOW_BYTES:
            raise _window_too_large()
        if stream_id in self._state.blocked:
            self._state.events.append(WindowOpened(stream_id))

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        frames.check_ping(payload, stream_id)
        if not flags & frames.ACK:
            self._pings.one_more(self._state.now)
            self._state.output.control(frames.frame(frames.PING, frames.ACK, 0, payload))
            return
        self._state.ignored.one_more(self._state.now)
        if self._state.is_end_announced and payload == END_ANNOUNCED:
            self._state.refuse_new_streams()

    def _goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._state.ignored.one_more(self._state.now)
        self._state.events.append(ClientGoesAway(*frames.read_goaway(payload, stream_id)))

    def _priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._state.ignored.one_more(self._state.now)
        frames.check_priority(payload, stream_id)

    def _priority_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._state.ignored.one_more(self._state.now)
        prioritized_id, value = frames.read_priority_update(payload, stream_id)
        if prioritized_id in self._state.streams:
            self._state.events.append(PriorityChanged(prioritized_id, parse_priority(value)))

    def _push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise protocol_fault("a client sent PUSH_PROMISE")

    def _lone_continuation(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise protocol_fault("a CONTINUATION frame continues no field block")


_HANDLERS: Final[dict[int, Callable[[Receiver, int, int, bytes], None]]] = {
    frames.DATA: Receiver._data,
    frames.HEADERS: Receiver._headers,
    frames.PRIORITY: Receiver._priority,
    frames.RST_STREAM: Receiver._rst_stream,
    frames.SETTINGS: Receiver._settings,
    frames.PUSH_PROMISE: Receiver._push_promise,
    frames.PING: Receiver._ping,
    frames.GOAWAY: Receiver._goaway,
    frames.WINDOW_UPDATE: Receiver._window_update,
    frames.CONTINUATION: Receiver._lone_continuation,
    frames.PRIORITY_UPDATE: Receiver._priority_update,
}


def _window_too_large() -> ConnectionFault:
    return ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window has more than {frames.MAX_WINDOW_BYTES} bytes")


def _block_too_long(limits: Limits) -> ConnectionFault:
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"a field block has more than {limits.block_bytes} bytes")
