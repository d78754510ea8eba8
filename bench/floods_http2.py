"""What the flooding client sends over HTTP/2. Its frames are built beforehand; only stream numbers differ.

Most of these floods end with the connection, after one too many of something. The client then connects again, so the
server has handshakes to make as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import hpack

from bench.certificates import HOST
from gateway.http import http2_frames as frames
from gateway.http.http2_frames import ErrorCode, frame

Piece = Callable[[int], bytes]  # a stream's number → the frames of one repetition

_WHOLE: Final = frames.END_HEADERS | frames.END_STREAM
_OPEN: Final = 1  # the stream that `POST` opens
_BOMB_BYTES: Final = 4000  # nearly the whole dynamic table


def _block(path: str, *more: tuple[str, str], method: str = "GET", is_kept: bool = False) -> bytes:
    """A header block. `is_kept`: only `more` is put into the dynamic table."""
    fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)]
    first = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])
    if is_kept:
        return first + hpack.Encoder().encode(more)
    return first + hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in more])


def _requests(block: bytes, *behind: Piece) -> Piece:
    """A request for each stream, with frames behind it."""

    def piece(stream_id: int) -> bytes:
        head = frame(frames.HEADERS, _WHOLE, stream_id, block)
        return head + b"".join(each(stream_id) for each in behind)

    return piece


def _same(data: bytes) -> Piece:
    return lambda _: data


PREFACE: Final = frames.CLIENT_PREFACE + frames.settings_frame({})
# A window as large as can be, for a client that reads nothing all the same.
WIDE: Final = (
    frames.CLIENT_PREFACE
    + frames.settings_frame({frames.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW_BYTES})
    + frames.window_update_frame(0, frames.MAX_WINDOW_BYTES - frames.FIRST_WINDOW_BYTES)
)
POST: Final = PREFACE + frame(frames.HEADERS, frames.END_HEADERS, _OPEN, _block("/webmail/upload", method="POST"))
UNFINISHED: Final = PREFACE + frame(frames.HEADERS, 0, _OPEN, _block("/x"))

_FIRST_DYNAMIC: Final = b"\xbe"  # the latest field of the dynamic table
_EMPTY_COOKIE: Final = b"\xa0"  # of the static table

reset = _requests(_block("/x"), lambda stream_id: frames.rst_stream_frame(stream_id, ErrorCode.CANCEL))
malformed = _requests(_block("/x", ("Upper", "case")))
refused = _requests(_block("/x"))
fields = _requests(_block("/x", *((f"x-field-{number}", "v") for number in range(90))))
unread = _requests(_block("/webmail/1k"))
bomb = _requests(_block("/x", ("x", "x" * _BOMB_BYTES), is_kept=True) + _FIRST_DYNAMIC * 12_000)
crumbs = _requests(_block("/x") + _EMPTY_COOKIE * 16_000)
continuation = _same(frame(frames.CONTINUATION, 0, _OPEN, b""))
settings = _same(frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 1}))
ping = _same(frame(frames.PING, 0, 0, bytes(8)))
update = _same(frames.window_update_frame(0, 1))
unknown = _same(frame(0xEE, 0, 0, b""))
empty = _same(frame(frames.DATA, 0, _OPEN, b""))
tiny = _same(frame(frames.DATA, 0, _OPEN, b"x"))
