"""What an HTTP/2 connection has to send: frames in their order, until they are taken. Does no I/O.

Keeps true: an answer has no field about an HTTP/1.1 connection and no name in upper case (RFC 9113 8.2). How much the
gateway owes the client in answers to its frames is counted, so that a client which doesn't read is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.http.fields import Fields
from gateway.http.headers import MAX_CACHED_NAME_BYTES, MAX_CACHED_NAMES
from gateway.http.hpack import INITIAL_TABLE_BYTES, Encoder
from gateway.http.http2_frames import END_STREAM, MAX_FRAME_BYTES, block_frames, data_frame_header
from gateway.http.http2_requests import CONNECTION_SPECIFIC


class _AnswerNames(dict[bytes, bytes]):
    """Field name → as it is sent; empty for names that are left out. Cleared at `MAX_CACHED_NAMES`."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        sent = b"" if lower in CONNECTION_SPECIFIC or lower.startswith(b":") else lower
        if len(name) <= MAX_CACHED_NAME_BYTES:
            if len(self) >= MAX_CACHED_NAMES:
                self.clear()
            self[name] = sent
        return sent


_sent_names: Final = _AnswerNames()


class Output:
    """Frames to send."""

    __slots__ = ("_frames", "control_bytes", "encoder")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.control_bytes = 0  # of frames that the client has caused
        self.encoder = Encoder(max_table_bytes=INITIAL_TABLE_BYTES)

    def control(self, frame: bytes) -> None:
        """Queue a frame that the client has caused."""
        self._frames.append(frame)
        self.control_bytes += len(frame)

    def block(self, stream_id: int, pseudo: Iterable[tuple[bytes, bytes]], fields: Fields, *, is_last: bool) -> None:
        """Queue a field block. It is never left for later: the order of blocks counts."""
        names = _sent_names
        listed = [*pseudo, *[(sent, value) for name, value in fields if (sent := names[name])]]
        self._frames += block_frames(stream_id, self.encoder.encode(listed), END_STREAM if is_last else 0)

    def data(self, stream_id: int, payload: bytes, *, is_last: bool) -> None:
        """Queue a payload in frames; an empty one in a frame of its own."""
        size = len(payload)
        if size <= MAX_FRAME_BYTES:
            self._frames += (data_frame_header(size, END_STREAM if is_last else 0, stream_id), payload)
            return
        for at in range(0, size, MAX_FRAME_BYTES):
            self.data(stream_id, payload[at : at + MAX_FRAME_BYTES], is_last=is_last and at + MAX_FRAME_BYTES >= size)

    def take(self) -> bytes:
        """Everything queued."""
        data = b"".join(self._frames)
        self._frames.clear()
        self.control_bytes = 0
        return data
