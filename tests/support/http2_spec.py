"""The cases of h2spec, the conformance test of HTTP/2 servers, in its order.

h2spec is a program of its own in another language, so its list of cases is repeated here. Where RFC 9113 lets a server
choose, the gateway ends the connection for a frame against the rules, and only the stream for a malformed request.

A file of tests imports the classes and has two fixtures. `fresh` is a client that has sent nothing; `client` has sent
its preface and SETTINGS. What they need beside `Frames` is what `CodecClient` in `test_http_http2_spec.py` has.
"""

import hpack
import pytest
from support.http2_client import GET, POST, setting

from gateway.http import http2_frames as f
from gateway.http.http2_frames import ErrorCode, frame

PING = frame(f.PING, 0, 0, b"h2spec..")
LONG = [(b"x-dummy%d" % number, b"x" * 200) for number in range(20)]


def pieces(client, fields, size):
    block = client.block(fields)
    return [block[at : at + size] for at in range(0, len(block), size)]


class TestGeneric:
    """Generic tests for HTTP/2 servers: what must be accepted."""

    def test_preface(self, client):
        assert client.is_alive()

    def test_priority_on_an_idle_stream(self, client):
        client.send(frame(f.PRIORITY, 0, 1, b"\x00\x00\x00\x00\xff"))
        assert client.is_alive()

    def test_window_update_on_a_half_closed_stream(self, client):
        client.send(client.headers(1), f.window_update_frame(1, 100))
        assert client.is_request()

    def test_priority_on_a_half_closed_stream(self, client):
        client.send(client.headers(1), frame(f.PRIORITY, 0, 1, b"\x00\x00\x00\x00\xff"))
        assert client.is_request()

    def test_rst_stream_on_a_half_closed_stream(self, client):
        client.send(client.headers(1), f.rst_stream_frame(1, ErrorCode.CANCEL))
        assert client.is_alive()

    def test_priority_on_a_closed_stream(self, client):
        assert client.is_served(1)
        client.send(frame(f.PRIORITY, 0, 1, b"\x00\x00\x00\x00\xff"))
        assert client.is_alive()

    @pytest.mark.parametrize("count", [1, 2])
    def test_data(self, client, count):
        client.send(client.headers(1, POST, is_last=False), *[frame(f.DATA, 0, 1, b"test")] * (count - 1))
        client.send(frame(f.DATA, f.END_STREAM, 1, b"test"))
        assert client.is_request(payload=b"test" * count)

    def test_data_with_padding(self, client):
        padded = frame(f.DATA, f.END_STREAM | f.PADDED, 1, b"\x04test" + bytes(4))
        client.send(client.headers(1, POST, is_last=False), padded)
        assert client.is_request(payload=b"test")

    def test_headers(self, client):
        client.send(client.headers(1))
        assert client.is_request()

    def test_headers_with_padding(self, client):
        flags = f.END_STREAM | f.END_HEADERS | f.PADDED
        client.send(frame(f.HEADERS, flags, 1, b"\x08" + client.block(GET) + bytes(8)))
        assert client.is_request()

    def test_headers_with_priority(self, client):
        flags = f.END_STREAM | f.END_HEADERS | f.HAS_PRIORITY
        client.send(frame(f.HEADERS, flags, 1, b"\x80\x00\x00\x00\xff" + client.block(GET)))
        assert client.is_request()

    @pytest.mark.parametrize(
        "priority",
        [b"\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\xff", b"\x00\x00\x00\x03\x10", b"\x80\x00\x00\x03\x10"],
    )
    def test_priority(self, client, priority):
        client.send(frame(f.PRIORITY, 0, 1, priority), client.headers(1))
        assert client.is_request()

    def test_priority_for_an_idle_stream_and_headers_for_a_lower_one(self, client):
        client.send(frame(f.PRIORITY, 0, 7, b"\x00\x00\x00\x00\xff"), client.headers(5))
        assert client.is_request(5)

    def test_rst_stream(self, client):
        client.send(client.headers(1, POST, is_last=False), f.rst_stream_frame(1, ErrorCode.CANCEL))
        assert client.is_alive()

    def test_settings(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(f.MAX_CONCURRENT_STREAMS, 100)))
        assert set(client.next(f.SETTINGS).flags) == {"ACK"}

    def test_ping(self, client):
        assert client.is_alive()

    def test_goaway(self, client):
        client.send(f.goaway_frame(0, ErrorCode.NO_ERROR, b"h2spec"))
        assert client.is_alive_or_done()

    def test_window_update(self, client):
        client.send(f.window_update_frame(0, 1))
        assert client.is_alive()
        client.send(client.headers(1), f.window_update_frame(1, 1))
        assert client.is_request()

    @pytest.mark.parametrize("count", [1, 3])
    def test_continuation(self, client, count):
        first, *rest = pieces(client, GET + LONG[:4], 80)
        fragments, rest = rest[:count], b"".join(rest[count:])
        client.send(frame(f.HEADERS, f.END_STREAM, 1, first))
        client.send(*[frame(f.CONTINUATION, 0, 1, fragment) for fragment in fragments])
        client.send(frame(f.CONTINUATION, f.END_HEADERS, 1, rest))
        assert client.is_request()

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
    def test_methods(self, client, method):
        client.send(client.headers(1, [(b":method", method), *GET[1:]]))
        assert client.is_request()

    def test_post_with_trailers(self, client):
        client.send(client.headers(1, [*POST, (b"trailer", b"x-test")], is_last=False), frame(f.DATA, 0, 1, b"test"))
        client.send(client.headers(1, [(b"x-test", b"ok")]))
        assert client.is_request(payload=b"test", trailers=[(b"x-test", b"ok")])


class TestHpackIsRead:
    """Each representation of a field (generic/5)."""

    @pytest.mark.parametrize(
        ("representation", "field"),
        [
            ("90", (b"accept-encoding", b"gzip, deflate")),
            ("7a 04 74657374", (b"user-agent", b"test")),
            ("7a 83 49509f", (b"user-agent", b"test")),
            ("40 01 78 04 74657374", (b"x", b"test")),
            ("40 82 f3e7 83 49509f", (b"xx", b"test")),
            ("0f2b 04 74657374", (b"user-agent", b"test")),
            ("0f2b 83 49509f", (b"user-agent", b"test")),
            ("00 01 78 04 74657374", (b"x", b"test")),
            ("00 82 f3e7 83 49509f", (b"xx", b"test")),
            ("1f2b 04 74657374", (b"user-agent", b"test")),
            ("1f2b 83 49509f", (b"user-agent", b"test")),
            ("10 01 78 04 74657374", (b"x", b"test")),
            ("10 82 f3e7 83 49509f", (b"xx", b"test")),
        ],
    )
    def test_representations(self, client, representation, field):
        block = client.block(GET) + bytes.fromhex(representation)
        client.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 1, block))
        assert hpack.Decoder().decode(block, raw=True)[4:] == [field]
        assert client.is_request(fields=[field])

    @pytest.mark.parametrize("updates", ["20", "20 3fe11f"])
    def test_table_size_updates(self, client, updates):
        block = bytes.fromhex(updates) + client.block(GET)
        client.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 1, block))
        assert client.is_request()


class TestPreface:
    """3.5"""

    def test_the_first_frame_is_settings(self, fresh):
        first = fresh.first_frame()
        assert first.type == f.SETTINGS
        assert not first.flags

    def test_invalid_preface(self, fresh):
        fresh.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        assert fresh.ended()[0] == ErrorCode.PROTOCOL_ERROR


class TestFrames:
    """4.1 to 4.3"""

    def test_unknown_type(self, client):
        client.send(frame(0x16, 0, 0, bytes(8)))
        assert client.is_alive()

    def test_undefined_flags(self, client):
        client.send(frame(f.PING, 0x16 & ~f.ACK, 0, bytes(8)))
        assert client.next(f.PING).opaque_data == bytes(8)

    def test_reserved_bit(self, client):
        client.send(frame(f.PING, 0, 1 << 31, bytes(8)))
        assert client.next(f.PING).opaque_data == bytes(8)

    def test_data_of_the_largest_size(self, client):
        client.send(client.headers(1, POST, is_last=False), frame(f.DATA, f.END_STREAM, 1, bytes(16_384)))
        assert client.is_request(payload=bytes(16_384))

    @pytest.mark.parametrize("kind", [f.DATA, f.HEADERS])
    def test_frames_one_byte_larger(self, client, kind):
        client.send(client.headers(1, POST, is_last=False), frame(kind, f.END_STREAM, 1, bytes(16_385)))
        assert client.ended()[0] == ErrorCode.FRAME_SIZE_ERROR

    def test_invalid_field_block(self, client):
        client.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 1, b"\x01"))
        assert client.ended()[0] == ErrorCode.COMPRESSION_ERROR

    @pytest.mark.parametrize("between", [frame(f.PRIORITY, 0, 1, b"\x00\x00\x00\x00\xff"), None])
    def test_frames_within_a_field_block(self, client, between):
        block = client.block(GET)
        client.send(frame(f.HEADERS, f.END_STREAM, 1, block), between or frame(f.HEADERS, f.END_STREAM, 3, block))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR


class TestStreams:
    """5.1 to 5.5"""

    @pytest.mark.parametrize(
        "idle",
        [
            frame(f.DATA, f.END_STREAM, 1, b"test"),
            f.rst_stream_frame(1, ErrorCode.CANCEL),
            f.window_update_frame(1, 100),
            frame(f.CONTINUATION, f.END_HEADERS, 1, b""),
        ],
    )
    def test_idle(self, client, idle):
        client.send(idle)
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    LATER = (
        (lambda _: frame(f.DATA, f.END_STREAM, 1, b"test"), ErrorCode.STREAM_CLOSED),
        (lambda client: client.headers(1), ErrorCode.STREAM_CLOSED),
        (lambda _: frame(f.CONTINUATION, f.END_HEADERS, 1, b""), ErrorCode.PROTOCOL_ERROR),
    )

    @pytest.mark.parametrize(("later", "code"), LATER)
    def test_half_closed(self, client, later, code):
        client.send(client.headers(1), later(client))
        assert client.ended()[0] == code

    @pytest.mark.parametrize(("later", "code"), LATER)
    def test_closed_by_rst_stream(self, client, later, code):
        client.send(client.headers(1, POST, is_last=False), f.rst_stream_frame(1, ErrorCode.CANCEL), later(client))
        assert client.ended()[0] == code

    @pytest.mark.parametrize(("later", "code"), LATER)
    def test_closed(self, client, later, code):
        assert client.is_served(1)
        client.send(later(client))
        assert client.ended()[0] == code

    def test_even_stream(self, client):
        client.send(client.headers(2))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_stream_lower_than_the_last_one(self, client):
        client.send(client.headers(5), client.headers(3))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_concurrent_streams(self, client):
        client.send(*[client.headers(2 * at + 1) for at in range(client.streams + 1)])
        assert client.was_reset(2 * client.streams + 1)[0] == ErrorCode.REFUSED_STREAM

    def test_headers_that_depend_on_themselves(self, client):
        flags = f.END_STREAM | f.END_HEADERS | f.HAS_PRIORITY
        client.send(frame(f.HEADERS, flags, 1, b"\x00\x00\x00\x01\xff" + client.block(GET)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_priority_that_depends_on_itself(self, client):
        client.send(frame(f.PRIORITY, 0, 2, b"\x00\x00\x00\x02\xff"))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_goaway_for_a_connection_error(self, client):
        client.send(frame(f.PING, 0, 3, bytes(8)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_unknown_frame_within_a_field_block(self, client):
        client.send(frame(f.HEADERS, f.END_STREAM, 1, client.block(GET)), frame(0x16, 0, 0, bytes(8)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR


class TestFrameDefinitions:
    """6.1 to 6.10"""

    def test_data_without_a_stream(self, client):
        client.send(frame(f.DATA, f.END_STREAM, 0, b"test"))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_data_with_invalid_padding(self, client):
        client.send(client.headers(1, POST, is_last=False), frame(f.DATA, f.END_STREAM | f.PADDED, 1, b"\x06test"))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_headers_without_a_stream(self, client):
        client.send(client.headers(0))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_headers_with_invalid_padding(self, client):
        block = client.block(GET)
        flags = f.END_STREAM | f.END_HEADERS | f.PADDED
        client.send(frame(f.HEADERS, flags, 1, bytes([len(block) + 1]) + block))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_priority_without_a_stream(self, client):
        client.send(frame(f.PRIORITY, 0, 0, b"\x00\x00\x00\x00\xff"))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_priority_of_another_length(self, client):
        client.send(client.headers(1, POST, is_last=False), frame(f.PRIORITY, 0, 1, b"\x80\x00\x00\x01"))
        assert client.ended()[0] == ErrorCode.FRAME_SIZE_ERROR

    def test_rst_stream_without_a_stream(self, client):
        client.send(f.rst_stream_frame(0, ErrorCode.CANCEL))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_rst_stream_of_another_length(self, client):
        client.send(client.headers(1, POST, is_last=False), frame(f.RST_STREAM, 0, 1, bytes(3)))
        assert client.ended()[0] == ErrorCode.FRAME_SIZE_ERROR

    @pytest.mark.parametrize(
        ("flags", "stream_id", "payload", "code"),
        [
            (f.ACK, 0, bytes(6), ErrorCode.FRAME_SIZE_ERROR),
            (0, 1, setting(f.MAX_CONCURRENT_STREAMS, 100), ErrorCode.PROTOCOL_ERROR),
            (0, 0, bytes(3), ErrorCode.FRAME_SIZE_ERROR),
            (0, 0, setting(f.ENABLE_PUSH, 2), ErrorCode.PROTOCOL_ERROR),
            (0, 0, setting(f.INITIAL_WINDOW_SIZE, 2**31), ErrorCode.FLOW_CONTROL_ERROR),
            (0, 0, setting(f.MAX_FRAME_SIZE, 16_383), ErrorCode.PROTOCOL_ERROR),
            (0, 0, setting(f.MAX_FRAME_SIZE, 2**24), ErrorCode.PROTOCOL_ERROR),
        ],
    )
    def test_invalid_settings(self, client, flags, stream_id, payload, code):
        client.send(frame(f.SETTINGS, flags, stream_id, payload))
        assert client.ended()[0] == code

    def test_unknown_setting(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(0xFF, 1)))
        assert client.is_alive()

    def test_the_last_value_of_a_setting_counts(self, client):
        twice = setting(f.INITIAL_WINDOW_SIZE, 100) + setting(f.INITIAL_WINDOW_SIZE, 1)
        client.send(frame(f.SETTINGS, 0, 0, twice), client.headers(1))
        assert client.data(1, 1) == b"b"

    def test_ping_with_ack_is_not_answered(self, client):
        client.send(frame(f.PING, f.ACK, 0, b"invalid."), PING)
        assert client.next(f.PING).opaque_data == b"h2spec.."

    def test_ping_on_a_stream(self, client):
        client.send(frame(f.PING, 0, 1, bytes(8)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_ping_of_another_length(self, client):
        client.send(frame(f.PING, 0, 0, bytes(6)))
        assert client.ended()[0] == ErrorCode.FRAME_SIZE_ERROR

    def test_goaway_on_a_stream(self, client):
        client.send(frame(f.GOAWAY, 0, 1, bytes(8)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    @pytest.mark.parametrize("stream_id", [0, 1])
    def test_window_update_of_nothing(self, client, stream_id):
        client.send(client.headers(1), frame(f.WINDOW_UPDATE, 0, stream_id, bytes(4)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    def test_window_update_of_another_length(self, client):
        client.send(frame(f.WINDOW_UPDATE, 0, 0, bytes(3)))
        assert client.ended()[0] == ErrorCode.FRAME_SIZE_ERROR

    def test_a_window_of_one_byte(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 1)), client.headers(1))
        assert client.data(1, 1) == b"b"

    @pytest.mark.parametrize("stream_id", [0, 1])
    def test_windows_that_become_too_large(self, client, stream_id):
        client.send(client.headers(1), *[f.window_update_frame(stream_id, 2**31 - 1)] * 2)
        assert client.ended()[0] == ErrorCode.FLOW_CONTROL_ERROR

    def test_the_first_window_changes_open_streams(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 0)), client.headers(1))
        assert client.data(1, 0) == b""
        client.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 1)))
        assert client.data(1, 1) == b"b"

    def test_negative_windows(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 3)), client.headers(1))
        assert client.data(1, 3) == b"bod"
        client.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 2)))
        client.send(f.window_update_frame(1, 1))
        assert client.data(1, 0) == b""
        client.send(f.window_update_frame(1, 1))
        assert client.data(1, 1) == b"y"

    @pytest.mark.parametrize(
        "after",
        [
            frame(f.DATA, f.END_STREAM, 1, b"test"),
            frame(f.CONTINUATION, f.END_HEADERS, 0, b""),
            frame(f.CONTINUATION, f.END_HEADERS, 3, b""),
        ],
    )
    def test_other_frames_where_continuation_is_due(self, client, after):
        first, *rest = pieces(client, GET + LONG[:2], 100)
        client.send(frame(f.HEADERS, f.END_STREAM, 1, first), frame(f.CONTINUATION, 0, 1, rest[0]), after)
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR

    @pytest.mark.parametrize("kind", [f.HEADERS, f.CONTINUATION, f.DATA])
    def test_continuation_where_none_is_due(self, client, kind):
        if kind == f.CONTINUATION:
            client.send(frame(f.HEADERS, 0, 1, client.block(POST)), frame(f.CONTINUATION, f.END_HEADERS, 1, b""))
        else:
            client.send(client.headers(1, POST, is_last=False))
        if kind == f.DATA:
            client.send(frame(f.DATA, 0, 1, b"test"))
        assert client.is_alive()
        client.send(frame(f.CONTINUATION, f.END_HEADERS, 1, b""))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR


class TestErrorCodes:
    """7"""

    @pytest.mark.parametrize("kind", [f.GOAWAY, f.RST_STREAM])
    def test_unknown_codes(self, client, kind):
        client.send(client.headers(1, POST, is_last=False))
        client.send(f.goaway_frame(0, 0xFF, b"") if kind == f.GOAWAY else f.rst_stream_frame(1, 0xFF))
        assert client.is_alive_or_done()


class TestRequests:
    """8.1 and 8.2"""

    @pytest.mark.parametrize(
        "fields",
        [
            [*GET, (b"X-TEST", b"ok")],
            [*GET, (b":test", b"ok")],
            [*GET, (b":status", b"200")],
            [*GET[:3], (b"x-test", b"ok"), GET[3]],
            [*GET, (b"connection", b"keep-alive")],
            [*GET, (b"trailers", b"test"), (b"te", b"trailers, deflate")],
            [*GET[:3], (b":path", b"")],
            GET[1:],
            [GET[0], *GET[2:]],
            GET[:3],
            [GET[0], *GET],
            [GET[1], *GET],
            [GET[3], *GET],
        ],
    )
    def test_malformed_heads(self, client, fields):
        client.send(client.headers(1, fields))
        assert client.was_reset(1)[0] == ErrorCode.PROTOCOL_ERROR
        assert client.is_served()

    def test_pseudo_fields_in_trailers(self, client):
        client.send(client.headers(1, POST, is_last=False), frame(f.DATA, 0, 1, b"test"), client.headers(1, POST))
        assert client.was_reset(1)[0] == ErrorCode.PROTOCOL_ERROR

    @pytest.mark.parametrize("count", [1, 2])
    def test_another_length_than_that_of_the_body(self, client, count):
        client.send(client.headers(1, [*POST, (b"content-length", b"1")], is_last=False))
        client.send(*[frame(f.DATA, 0, 1, b"")] * (count - 1), frame(f.DATA, f.END_STREAM, 1, b"test"))
        assert client.was_reset(1)[0] == ErrorCode.PROTOCOL_ERROR

    def test_second_headers_that_do_not_end_the_request(self, client):
        client.send(*[client.headers(1, POST, is_last=False)] * 2)
        assert client.was_reset(1)[0] == ErrorCode.PROTOCOL_ERROR

    def test_push_promise(self, client):
        client.send(frame(f.PUSH_PROMISE, f.END_HEADERS, 1, b"\x00\x00\x00\x02" + client.block(GET)))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR


class TestHpack:
    """What must be refused (hpack/2 to 6)."""

    @pytest.mark.parametrize(
        "block",
        [
            "c6",  # index 70 in an empty dynamic table
            "7f3f 05 656d707479",  # the same as a name
            "20",  # a size update behind a field
            "3fe21f",  # the same, larger than the setting
            "00 04 74657374 84 49509fff",  # Huffman padding longer than 7 bits
            "00 04 74657374 83 495090",  # Huffman padding of zeros
            "00 04 74657374 88 ffffffffffffffff",  # EOS
            "80",  # index 0
        ],
    )
    def test_invalid_blocks(self, client, block):
        block = client.block(GET) + bytes.fromhex(block)
        client.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 1, block))
        assert client.ended()[0] == ErrorCode.COMPRESSION_ERROR

    def test_a_size_update_larger_than_the_setting(self, client):
        block = bytes.fromhex("3fe21f") + client.block(GET)
        client.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 1, block))
        assert client.ended()[0] == ErrorCode.COMPRESSION_ERROR
