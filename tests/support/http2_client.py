"""An HTTP/2 client for tests of the server's side: writes frames, right and wrong ones, and reads the answers."""

from __future__ import annotations

import hpack
import hyperframe.frame

from gateway.http import http2_frames as frames
from gateway.http.http2 import Http2Codec
from gateway.http.http2_limits import Limits
from gateway.http.http2_streams import ConnectionEnded, Reset

LIMITS = {"uri_bytes": 1000, "list_bytes": 8000, "fields": 50}
GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"mail.example"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
SETTINGS = frames.settings_frame({})


def setting(number, value):
    return number.to_bytes(2, "big") + value.to_bytes(4, "big")


class Frames:
    """What a client needs to write frames, and to read field blocks."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()

    def block(self, fields):
        return self.encoder.encode(fields)

    def headers(self, stream_id, fields=GET, *, is_last=True):
        flags = frames.END_HEADERS | (frames.END_STREAM if is_last else 0)
        return frames.frame(frames.HEADERS, flags, stream_id, self.block(fields))

    def fields(self, answer):
        return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(answer.data, raw=True)]


class Client(Frames):
    """A client with its connection at the gateway. `events` and `answers` are what has come since the last look."""

    def __init__(self, *, first=SETTINGS, **limits) -> None:
        super().__init__()
        self.connection = Http2Codec(Limits(**(LIMITS | limits)))
        self.now = 100.0
        self.events = []
        self.preface = self.answers()
        if first is not None:
            self.send(frames.CLIENT_PREFACE + first)
            assert self.events == []
            self.answers()

    def send(self, *data, take=False):
        """Send bytes; `take`: what is answered is read after each."""
        for each in data:
            self.events += self.connection.receive(each, self.now)
            if take:
                self.answers()
        return self

    def answers(self):
        """The frames that the gateway has sent."""
        data, found = self.connection.take_output(), []
        while data:
            one, size = hyperframe.frame.Frame.parse_frame_header(memoryview(data[:9]))
            one.parse_body(memoryview(data[9 : 9 + size]))
            found.append(one)
            data = data[9 + size :]
        return found

    def seen(self):
        events, self.events = self.events, []
        return events

    def is_served(self, stream_id=101):
        """Is an ordinary request answered on this connection?"""
        self.seen()
        self.answers()
        self.send(self.headers(stream_id))
        self.connection.send_head(stream_id, 204, [], is_last=True)
        return [getattr(event, "stream_id", None) for event in self.seen()] == [stream_id] * 2 and [
            self.fields(answer) for answer in self.answers()
        ] == [[(b":status", b"204")]]

    def ended(self):
        """(code, cause) of the connection's end, which the client is told."""
        *_, last = self.events
        assert isinstance(last, ConnectionEnded), self.events
        assert last == self.connection.ended
        goaway = self.answers()[-1]
        assert (goaway.error_code, goaway.additional_data) == (last.code, last.cause.encode())
        assert self.connection.receive(frames.frame(frames.PING, 0, 0, bytes(8)), self.now) == []
        return last.code, last.cause

    def was_reset(self, stream_id):
        """(code, cause) of the only stream that the gateway has reset, which the client is told."""
        assert self.connection.ended is None
        (reset,) = [event for event in self.events if isinstance(event, Reset)]
        assert (reset.stream_id, reset.by_client) == (stream_id, False)
        (told,) = [answer for answer in self.answers() if answer.type == frames.RST_STREAM]
        assert (told.stream_id, told.error_code) == (stream_id, reset.code)
        return reset.code, reset.cause
