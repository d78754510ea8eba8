"""HTTP/2 frames (RFC 9113 sections 4 and 6): reads what is inside one, and writes one. Does no I/O.

Keeps true: a frame has the length and the values that its type allows, or the connection ends. Frames against the rules
never end just one stream: otherwise a client could make the gateway reset streams at no cost (CVE-2025-8671).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from gateway.errors import GatewayError


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(GatewayError):  # noqa: N818 - the field's term is "connection error", which Python has
    """The client broke a rule or a limit: the connection ends."""

    def __init__(self, code: ErrorCode, cause: str) -> None:
        super().__init__(cause)
        self.code = code


# Frame types: plain integers, since each frame is compared with them.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
PRIORITY_UPDATE: Final = 0x10  # RFC 9218

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

# Settings (RFC 9113 6.5.2, RFC 8441, RFC 9218).
HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8
NO_RFC7540_PRIORITIES: Final = 0x9

CLIENT_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES: Final = 9
# The smallest maximum that either side may have, so that every client accepts it and the gateway buffers no more.
MAX_FRAME_BYTES: Final = 16_384
LARGEST_FRAME_BYTES: Final = 2**24 - 1  # that a setting may allow
FIRST_WINDOW_BYTES: Final = 65_535  # every window before settings and updates change it
MAX_WINDOW_BYTES: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1

_PRIORITY_BYTES: Final = 5
_RST_STREAM_BYTES: Final = 4
_PING_BYTES: Final = 8
_GOAWAY_BYTES: Final = 8  # and more with a text
_WINDOW_UPDATE_BYTES: Final = 4
_PRIORITY_UPDATE_BYTES: Final = 4  # and more with the priority
_SETTING: Final = Struct(">HL")
_NUMBER: Final = Struct(">L")
_TWO_NUMBERS: Final = Struct(">LL")
# The length's upper 16 bits, its lower 8, type, flags, stream with the reserved bit.
_FRAME_HEADER: Final = Struct(">HBBBL")
unpack_frame_header: Final = _FRAME_HEADER.unpack_from
_pack_frame_header: Final = _FRAME_HEADER.pack


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame; the payload has at most `MAX_FRAME_BYTES`."""
    size = len(payload)
    return _pack_frame_header(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def data_frame_header(size: int, flags: int, stream_id: int) -> bytes:
    """What comes before the payload of a DATA frame."""
    return _pack_frame_header(size >> 8, size & 0xFF, DATA, flags, stream_id)


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame has no padding length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame's padding is longer than the frame")
    return payload[1 : len(payload) - padding]


def header_fragment(payload: bytes, flags: int, stream_id: int) -> bytes:
    """The field block, or the part of it, in a HEADERS frame. The old priority is checked and dropped."""
    fragment = unpadded(payload, flags)
    if not flags & HAS_PRIORITY:
        return fragment
    if len(fragment) < _PRIORITY_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame is too short for its priority")
    _check_dependency(fragment, stream_id)
    return fragment[_PRIORITY_BYTES:]


def _check_dependency(payload: bytes, stream_id: int) -> None:
    if _NUMBER.unpack_from(payload)[0] & MAX_STREAM_ID == stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")


def check_priority(payload: bytes, stream_id: int) -> None:
    """A PRIORITY frame; its priority scheme is deprecated and ignored (RFC 9113 5.3.2)."""
    if not stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a PRIORITY frame has no stream")
    _check_size("PRIORITY", payload, _PRIORITY_BYTES)
    _check_dependency(payload, stream_id)


def _check_size(name: str, payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a {name} frame does not have {size} bytes")


def _check_on_connection(name: str, stream_id: int) -> None:
    if stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a {name} frame is on a stream")


def read_rst_stream(payload: bytes, stream_id: int) -> int:
    """The error code, known or not, of a RST_STREAM frame."""
    if not stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a RST_STREAM frame has no stream")
    _check_size("RST_STREAM", payload, _RST_STREAM_BYTES)
    code: int = _NUMBER.unpack(payload)[0]
    return code


def check_ping(payload: bytes, stream_id: int) -> None:
    """A PING frame."""
    _check_on_connection("PING", stream_id)
    _check_size("PING", payload, _PING_BYTES)


def read_goaway(payload: bytes, stream_id: int) -> tuple[int, bytes]:
    """(error code, text) of a GOAWAY frame."""
    _check_on_connection("GOAWAY", stream_id)
    if len(payload) < _GOAWAY_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a GOAWAY frame has fewer than {_GOAWAY_BYTES} bytes")
    return _TWO_NUMBERS.unpack_from(payload)[1], payload[_GOAWAY_BYTES:]


def read_window_update(payload: bytes) -> int:
    """The increment of a WINDOW_UPDATE frame."""
    _check_size("WINDOW_UPDATE", payload, _WINDOW_UPDATE_BYTES)
    increment: int = _NUMBER.unpack(payload)[0] & MAX_WINDOW_BYTES
    if not increment:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE frame adds nothing")
    return increment


def read_priority_update(payload: bytes, stream_id: int) -> tuple[int, bytes]:
    """(stream, priority field value) of a PRIORITY_UPDATE frame (RFC 9218 7.1)."""
    _check_on_connection("PRIORITY_UPDATE", stream_id)
    if len(payload) < _PRIORITY_UPDATE_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a PRIORITY_UPDATE frame names no stream")
    prioritized = _NUMBER.unpack_from(payload)[0] & MAX_STREAM_ID
    if not prioritized & 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a PRIORITY_UPDATE frame is not for a client's stream")
    return prioritized, payload[_PRIORITY_UPDATE_BYTES:]


def read_settings(payload: bytes, flags: int, stream_id: int, *, max_settings: int) -> dict[int, int]:
    """The settings of a SETTINGS frame, the last value of each; empty for an acknowledgement."""
    _check_on_connection("SETTINGS", stream_id)
    if flags & ACK:
        _check_size("SETTINGS acknowledgement", payload, 0)
        return {}
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a SETTINGS frame is no multiple of {_SETTING.size} bytes")
    if len(payload) > max_settings * _SETTING.size:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"a SETTINGS frame has more than {max_settings} settings")
    settings: dict[int, int] = {}
    for setting, value in _SETTING.iter_unpack(payload):
        least, most, code = _ALLOWED.get(setting, _ANY)
        if not least <= value <= most:
            raise ConnectionFault(code, f"setting {setting} has the value {value}")
        settings[setting] = value
    return settings


# Setting → (smallest value, largest, error code). Unknown settings are ignored (RFC 9113 6.5.2).
_ANY: Final = (0, 2**32 - 1, ErrorCode.PROTOCOL_ERROR)
_ALLOWED: Final = {
    ENABLE_PUSH: (0, 1, ErrorCode.PROTOCOL_ERROR),
    INITIAL_WINDOW_SIZE: (0, MAX_WINDOW_BYTES, ErrorCode.FLOW_CONTROL_ERROR),
    MAX_FRAME_SIZE: (MAX_FRAME_BYTES, LARGEST_FRAME_BYTES, ErrorCode.PROTOCOL_ERROR),
    ENABLE_CONNECT_PROTOCOL: (0, 1, ErrorCode.PROTOCOL_ERROR),
    NO_RFC7540_PRIORITIES: (0, 1, ErrorCode.PROTOCOL_ERROR),
}


def settings_frame(settings: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in settings.items()))


def rst_stream_frame(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, _NUMBER.pack(code))


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(increment))


def goaway_frame(last_stream_id: int, code: int, text: bytes) -> bytes:
    """A GOAWAY frame; the text is for the client's log."""
    return frame(GOAWAY, 0, 0, _TWO_NUMBERS.pack(last_stream_id, code) + text)


def block_frames(stream_id: int, block: bytes, flags: int) -> list[bytes]:
    """A HEADERS frame, and CONTINUATION frames if the field block does not fit into it."""
    if len(block) <= MAX_FRAME_BYTES:
        return [frame(HEADERS, flags | END_HEADERS, stream_id, block)]
    frames = [frame(HEADERS, flags, stream_id, block[:MAX_FRAME_BYTES])]
    for at in range(MAX_FRAME_BYTES, len(block), MAX_FRAME_BYTES):
        is_last = at + MAX_FRAME_BYTES >= len(block)
        fragment = block[at : at + MAX_FRAME_BYTES]
        frames.append(frame(CONTINUATION, END_HEADERS if is_last else 0, stream_id, fragment))
    return frames
