"""An HTTP/2 client of a running gateway that writes frames, right and wrong ones, and reads what comes back.

with Wire(gateway.port, source=OUTSIDE, context=context) as wire:
    wire.send(wire.headers(1, wire.get("/webmail")))
    wire.answer(1)                    # (status, fields, body)
    wire.ended()                      # (code, cause) of the GOAWAY, and the connection's end
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Self

import hyperframe.frame
from support.client import Client, Stream
from support.gateway import HOST, INSIDE
from support.http2_client import SETTINGS, Frames

from gateway.http import http2_frames as frames

Fields = list[tuple[bytes, bytes]]
HEADER_BYTES = 9


class StreamResetError(Exception):
    """The gateway has reset the stream."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Wire(Frames):
    """One connection. Windows stay as they are unless frames open them."""

    def __init__(
        self,
        port: int,
        *,
        context: ssl.SSLContext,
        source: str = INSIDE,
        first: bytes | None = SETTINGS,
        server_name: str = HOST,
        buffer_bytes: int | None = None,
    ) -> None:
        """`context` offers h2. `first`: the frame behind the preface; None: nothing is sent."""
        super().__init__()
        self._client = Client(port, source=source, context=context, server_name=server_name, buffer_bytes=buffer_bytes)
        assert self.socket.selected_alpn_protocol() == "h2"
        self._stream = Stream(self.socket)
        self.seen: list[Any] = []  # every frame that was read
        if first is not None:
            self.send(frames.CLIENT_PREFACE + first)

    @property
    def socket(self) -> ssl.SSLSocket:
        socket: ssl.SSLSocket = self._client.socket
        return socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def send(self, *data: bytes) -> None:
        """All of it in one piece."""
        self.socket.sendall(b"".join(data))

    def get(self, path: str, *more: tuple[bytes, bytes], method: bytes = b"GET") -> Fields:
        """The fields of a request for the gateway's site."""
        pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", HOST.encode())]
        return [*pseudo, (b":path", path.encode()), *more]

    def frame(self) -> Any:
        """The next frame; `decoded` has the fields of a block. Raises `EOFError` at the end of the connection."""
        header = self._stream.read(HEADER_BYTES)
        one, size = hyperframe.frame.Frame.parse_frame_header(memoryview(header))
        one.parse_body(memoryview(self._stream.read(size)))
        if one.type == frames.HEADERS:
            one.decoded = self.fields(one)  # in the order of the frames: blocks refer to those before
        self.seen.append(one)
        return one

    def until(self, is_it: Callable[[Any], bool]) -> Any:
        """The first frame like this; those before it are in `seen`."""
        while not is_it(one := self.frame()):
            pass
        return one

    def answer(self, stream_id: int) -> tuple[int, dict[str, str], bytes]:
        """(status, fields, body), when it is complete. Frames of other streams go by. Raises `StreamResetError`."""
        status, fields, body = 0, {}, b""
        while True:
            one = self.until(lambda each: each.stream_id == stream_id)
            if one.type == frames.RST_STREAM:
                raise StreamResetError(one.error_code)
            if one.type == frames.DATA:
                body += one.data
            elif one.type == frames.HEADERS:
                found = {name.decode(): value.decode() for name, value in one.decoded}
                if (code := int(found.pop(":status", "0"))) >= 200:
                    status, fields = code, found
            if "END_STREAM" in one.flags:
                return status, fields, body

    def ping(self, data: bytes = b"are you?") -> None:
        """Everything that was sent before has been read by the gateway when this returns."""
        self.send(frames.frame(frames.PING, 0, 0, data))
        self.until(lambda one: one.type == frames.PING and "ACK" in one.flags and one.opaque_data == data)

    def ended(self) -> tuple[int, str]:
        """(code, cause) with which the gateway ends the connection: the last GOAWAY. Reads to the connection's end."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self.frame()
        last = [one for one in self.seen if one.type == frames.GOAWAY][-1]
        return last.error_code, last.additional_data.decode()


def h2_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, which now offers HTTP/2 too."""
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
