"""Frames: what may be in one, and how one is written. h2spec's cases are in test_http_http2_spec.py."""

import hyperframe.frame
import pytest

from gateway.http import http2_frames as frames
from gateway.http.http2_frames import ConnectionFault, ErrorCode


def faulty(code, call, *arguments, **options):
    with pytest.raises(ConnectionFault) as caught:
        call(*arguments, **options)
    assert caught.value.code is code
    return caught.value.cause


def parsed(data):
    """Frames as hyperframe reads them."""
    found = []
    while data:
        one, size = hyperframe.frame.Frame.parse_frame_header(memoryview(data[:9]))
        one.parse_body(memoryview(data[9 : 9 + size]))
        found.append(one)
        data = data[9 + size :]
    return found


def test_padding_is_removed():
    assert frames.unpadded(b"data", 0) == b"data"
    assert frames.unpadded(b"\x02data\x00\x00", frames.PADDED) == b"data"
    assert frames.unpadded(b"\x00", frames.PADDED) == b""


def test_padding_longer_than_its_frame():
    assert frames.unpadded(b"\x03\x00\x00\x00", frames.PADDED) == b""
    faulty(ErrorCode.PROTOCOL_ERROR, frames.unpadded, b"\x03\x00\x00", frames.PADDED)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.unpadded, b"", frames.PADDED)


def test_the_priority_in_a_headers_frame_is_dropped():
    flags = frames.HAS_PRIORITY | frames.PADDED
    assert frames.header_fragment(b"block", 0, 1) == b"block"
    assert frames.header_fragment(b"\x01" + b"\x80\x00\x00\x03\x10" + b"block" + b"\x00", flags, 1) == b"block"
    assert frames.header_fragment(b"\x00\x00\x00\x00\x10", frames.HAS_PRIORITY, 1) == b""
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.header_fragment, b"\x00\x00\x00\x00", frames.HAS_PRIORITY, 1)
    faulty(ErrorCode.PROTOCOL_ERROR, frames.header_fragment, b"\x80\x00\x00\x01\x10", frames.HAS_PRIORITY, 1)


def test_priority():
    frames.check_priority(b"\x00\x00\x00\x03\x10", 1)
    faulty(ErrorCode.PROTOCOL_ERROR, frames.check_priority, b"\x00\x00\x00\x03\x10", 0)
    faulty(ErrorCode.PROTOCOL_ERROR, frames.check_priority, b"\x80\x00\x00\x01\x10", 1)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.check_priority, b"\x00\x00\x00\x03", 1)


def test_rst_stream():
    assert frames.read_rst_stream(b"\x00\x00\x00\x08", 1) == ErrorCode.CANCEL
    assert frames.read_rst_stream(b"\xff\xff\xff\xff", 1) == 2**32 - 1
    faulty(ErrorCode.PROTOCOL_ERROR, frames.read_rst_stream, b"\x00\x00\x00\x08", 0)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.read_rst_stream, b"\x00\x00\x00", 1)


def test_ping():
    frames.check_ping(b"12345678", 0)
    faulty(ErrorCode.PROTOCOL_ERROR, frames.check_ping, b"12345678", 1)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.check_ping, b"1234567", 0)


def test_goaway():
    assert frames.read_goaway(b"\x00\x00\x00\x01\x00\x00\x00\x02why", 0) == (ErrorCode.INTERNAL_ERROR, b"why")
    faulty(ErrorCode.PROTOCOL_ERROR, frames.read_goaway, bytes(8), 1)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.read_goaway, bytes(7), 0)


def test_window_update():
    assert frames.read_window_update(b"\x80\x00\x00\x05") == 5
    faulty(ErrorCode.PROTOCOL_ERROR, frames.read_window_update, b"\x80\x00\x00\x00")
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.read_window_update, b"\x00\x00\x05")


def test_priority_update():
    assert frames.read_priority_update(b"\x00\x00\x00\x05u=1", 0) == (5, b"u=1")
    assert frames.read_priority_update(b"\x80\x00\x00\x05", 0) == (5, b"")
    faulty(ErrorCode.PROTOCOL_ERROR, frames.read_priority_update, b"\x00\x00\x00\x05u=1", 5)
    faulty(ErrorCode.PROTOCOL_ERROR, frames.read_priority_update, b"\x00\x00\x00\x00u=1", 0)
    faulty(ErrorCode.PROTOCOL_ERROR, frames.read_priority_update, b"\x00\x00\x00\x02u=1", 0)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.read_priority_update, b"\x00\x00\x00", 0)


def settings(*pairs, flags=0, stream_id=0, most=8):
    payload = b"".join(number.to_bytes(2, "big") + value.to_bytes(4, "big") for number, value in pairs)
    return frames.read_settings(payload, flags, stream_id, max_settings=most)


def test_settings_count_by_their_last_value_and_unknown_ones_are_kept_unread():
    assert settings((frames.INITIAL_WINDOW_SIZE, 1), (0xABCD, 2**32 - 1), (frames.INITIAL_WINDOW_SIZE, 2)) == {
        frames.INITIAL_WINDOW_SIZE: 2,
        0xABCD: 2**32 - 1,
    }
    assert settings(flags=frames.ACK) == {}


@pytest.mark.parametrize(
    ("setting", "least", "most", "code"),
    [
        (frames.ENABLE_PUSH, 0, 1, ErrorCode.PROTOCOL_ERROR),
        (frames.INITIAL_WINDOW_SIZE, 0, 2**31 - 1, ErrorCode.FLOW_CONTROL_ERROR),
        (frames.MAX_FRAME_SIZE, 2**14, 2**24 - 1, ErrorCode.PROTOCOL_ERROR),
        (frames.ENABLE_CONNECT_PROTOCOL, 0, 1, ErrorCode.PROTOCOL_ERROR),
        (frames.NO_RFC7540_PRIORITIES, 0, 1, ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_values_of_settings(setting, least, most, code):
    assert settings((setting, least)) == {setting: least}
    assert settings((setting, most)) == {setting: most}
    faulty(code, settings, (setting, most + 1))
    if least:
        faulty(code, settings, (setting, least - 1))


def test_frames_of_settings():
    faulty(ErrorCode.PROTOCOL_ERROR, settings, stream_id=1)
    faulty(ErrorCode.FRAME_SIZE_ERROR, settings, (1, 1), flags=frames.ACK)
    faulty(ErrorCode.FRAME_SIZE_ERROR, frames.read_settings, bytes(7), 0, 0, max_settings=8)


def test_one_setting_too_many_in_a_frame():
    settings(*[(0xABCD, 1)] * 3, most=3)
    cause = faulty(ErrorCode.ENHANCE_YOUR_CALM, settings, *[(0xABCD, 1)] * 4, most=3)
    assert cause == "a SETTINGS frame has more than 3 settings"


def test_frames_are_written_as_another_library_reads_them():
    written = [
        frames.frame(frames.DATA, frames.END_STREAM, 5, b"x" * 300),
        frames.settings_frame({frames.ENABLE_PUSH: 0, frames.MAX_CONCURRENT_STREAMS: 7}),
        frames.rst_stream_frame(3, ErrorCode.CANCEL),
        frames.window_update_frame(0, 9),
        frames.goaway_frame(7, ErrorCode.ENHANCE_YOUR_CALM, b"why"),
    ]
    data, own, reset, update, goaway = parsed(b"".join(written))
    assert (data.stream_id, data.data, set(data.flags)) == (5, b"x" * 300, {"END_STREAM"})
    assert own.settings == {frames.ENABLE_PUSH: 0, frames.MAX_CONCURRENT_STREAMS: 7}
    assert (reset.stream_id, reset.error_code) == (3, 8)
    assert (update.stream_id, update.window_increment) == (0, 9)
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (7, 11, b"why")


@pytest.mark.parametrize(
    ("size", "sizes"), [(0, [0]), (16_384, [16_384]), (16_385, [16_384, 1]), (32_768, [16_384] * 2)]
)
def test_a_field_block_is_spread_over_frames(size, sizes):
    block = bytes(range(256)) * 128
    read = parsed(b"".join(frames.block_frames(3, block[:size], frames.END_STREAM)))
    assert [len(one.data) for one in read] == sizes
    assert b"".join(one.data for one in read) == block[:size]
    assert ["END_HEADERS" in one.flags for one in read] == [False] * (len(sizes) - 1) + [True]
    assert [type(one).__name__ for one in read] == ["HeadersFrame", "ContinuationFrame"][: len(sizes)]
    assert "END_STREAM" in read[0].flags
