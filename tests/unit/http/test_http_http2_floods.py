"""Each limit of a connection: what is below it is served, and one more ends the connection, or one request."""

import pytest
from support.http2_client import GET, POST, Client, setting

from gateway.facts import Reason
from gateway.http import http2_frames as f
from gateway.http.http2_frames import ErrorCode, frame
from gateway.http.http2_limits import COUNTED_SECONDS
from gateway.http.http2_streams import RefusedRequest, Reset

CALM = ErrorCode.ENHANCE_YOUR_CALM
PING = frame(f.PING, 0, 0, bytes(8))
SETTINGS_AGAIN = frame(f.SETTINGS, 0, 0, setting(0xABCD, 1))
IGNORED = {
    "PRIORITY": frame(f.PRIORITY, 0, 1, b"\x00\x00\x00\x00\xff"),
    "PRIORITY_UPDATE": frame(f.PRIORITY_UPDATE, 0, 0, b"\x00\x00\x00\x01u=1"),
    "unknown": frame(0xEE, 0, 0, b""),
    "PING acknowledgement": frame(f.PING, f.ACK, 0, bytes(8)),
    "SETTINGS acknowledgement": frame(f.SETTINGS, f.ACK, 0, b""),
    "GOAWAY": f.goaway_frame(0, 0, b""),
}


def rapid_reset(client, at):
    stream_id = 2 * at + 1
    client.send(client.headers(stream_id), f.rst_stream_frame(stream_id, ErrorCode.CANCEL), take=True)


def malformed(client, at):
    client.send(client.headers(2 * at + 1, GET[1:]), take=True)


def reset_by_the_owner(client, at):
    client.send(client.headers(2 * at + 1), take=True)
    client.connection.reset(2 * at + 1, ErrorCode.INTERNAL_ERROR, client.now)
    if client.connection.ended:
        client.events.append(client.connection.ended)


def each(data):
    return lambda client, _: client.send(data, take=True)


FLOODS = [
    ("client_resets", rapid_reset, "more than 5 resets by the client in 10 s"),
    ("own_resets", malformed, "more than 5 requests that were reset by the gateway in 10 s"),
    ("own_resets", reset_by_the_owner, "more than 5 requests that were reset by the gateway in 10 s"),
    ("pings", each(PING), "more than 5 PING frames in 10 s"),
    ("empty_data", each(frame(f.DATA, 0, 1001, b"")), "more than 5 empty DATA frames in 10 s"),
    ("empty_data", each(frame(f.DATA, f.PADDED, 1001, b"\x03\0\0\0")), "more than 5 empty DATA frames in 10 s"),
    ("small_updates", each(f.window_update_frame(0, 511)), "more than 5 small WINDOW_UPDATE frames in 10 s"),
    ("small_updates", each(f.window_update_frame(1001, 1)), "more than 5 small WINDOW_UPDATE frames in 10 s"),
    *(("ignored_frames", each(data), "more than 5 frames without effect in 10 s") for data in IGNORED.values()),
]
NAMES = [f"{limit}-{at}" for at, (limit, *_) in enumerate(FLOODS)]


@pytest.mark.parametrize(("limit", "one", "cause"), FLOODS, ids=NAMES)
def test_one_too_many_in_the_time(limit, one, cause):
    """The stream 1001 is open for those that need one."""
    client = Client(**{limit: 5})
    needs_stream = limit in {"empty_data", "small_updates"}
    if needs_stream:
        client.send(client.headers(1001, POST, is_last=False))
    for at in range(5):
        one(client, at)
    assert client.is_served(1003)
    one(client, 5 + 1000)
    assert client.connection.ended == (CALM, cause)
    assert client.events[-1] == client.connection.ended


@pytest.mark.parametrize(("limit", "one", "cause"), FLOODS, ids=NAMES)
def test_the_same_in_more_time(limit, one, cause):
    client = Client(**{limit: 5})
    if limit in {"empty_data", "small_updates"}:
        client.send(client.headers(1001, POST, is_last=False))
    for at in range(20):
        one(client, at)
        if at % 5 == 4:
            client.now += COUNTED_SECONDS
    assert client.is_served(1003), cause


def test_resets_that_only_stop_an_upload_do_not_count():
    client = Client(own_resets=5)
    for at in range(6):
        client.send(client.headers(2 * at + 1, POST, is_last=False))
        client.connection.send_head(2 * at + 1, 200, [], is_last=True)
        client.connection.reset(2 * at + 1, ErrorCode.NO_ERROR, client.now)
    assert [answer.error_code for answer in client.answers() if answer.type == f.RST_STREAM] == [0] * 6
    assert client.is_served()


def test_settings():
    """The first SETTINGS frame counts too."""
    client = Client(settings=5)
    client.send(*[SETTINGS_AGAIN] * 4, take=True)
    assert client.is_served()
    client.send(SETTINGS_AGAIN)
    assert client.ended() == (CALM, "more than 5 SETTINGS frames in 10 s")


def test_settings_in_one_frame():
    client = Client(settings_in_frame=5)
    client.send(frame(f.SETTINGS, 0, 0, setting(0xABCD, 1) * 5))
    assert client.is_served()
    client.send(frame(f.SETTINGS, 0, 0, setting(0xABCD, 1) * 6))
    assert client.ended() == (CALM, "a SETTINGS frame has more than 5 settings")


def test_streams_at_a_time():
    client = Client(streams=5)
    client.send(*[client.headers(2 * at + 1) for at in range(5)])
    assert not any(isinstance(event, Reset) for event in client.events)
    client.send(client.headers(11))
    assert client.was_reset(11) == (ErrorCode.REFUSED_STREAM, "more than 5 streams")
    client.connection.send_head(1, 200, [], is_last=True)
    assert client.is_served(13)


def test_frames_for_streams_that_the_gateway_has_reset():
    client = Client(ignored_frames=5)
    client.send(client.headers(1, GET[1:], is_last=False), take=True)
    late = frame(f.DATA, 0, 1, b"late")
    client.send(*[late] * 5, take=True)
    assert client.is_served(3)
    client.send(late)
    assert client.ended() == (CALM, "more than 5 frames without effect in 10 s")


@pytest.mark.parametrize("late", [f.window_update_frame(1, 1000), f.rst_stream_frame(1, 8)])
def test_frames_for_streams_that_were_answered(late):
    client = Client(ignored_frames=5)
    assert client.is_served(1)
    client.send(*[late] * 5, take=True)
    assert client.is_served(3)
    client.send(late)
    assert client.ended() == (CALM, "more than 5 frames without effect in 10 s")


def test_requests_after_the_last_that_is_served():
    client = Client(ignored_frames=5)
    client.connection.refuse_new_streams()
    client.answers()
    client.send(*[client.headers(2 * at + 1) for at in range(5)])
    assert client.seen() == []
    client.send(client.headers(11))
    assert client.ended()[0] == CALM


@pytest.mark.parametrize("fragment", [b"", b"x"])
def test_continuations(fragment):
    """Empty ones count as others do."""
    client = Client(continuations=5)
    block = client.block([*GET, (b"x-long", b"x" * 200)])
    last = frame(f.CONTINUATION, f.END_HEADERS, 1, block[5:] if fragment else block)
    client.send(frame(f.HEADERS, f.END_STREAM, 1, block[:1] if fragment else b""))
    client.send(*[frame(f.CONTINUATION, 0, 1, block[at + 1 : at + 2] if fragment else b"") for at in range(4)], last)
    assert client.events[0].target == b"/"
    client.connection.send_head(1, 200, [], is_last=True)
    assert client.is_served(3)
    client.send(frame(f.HEADERS, 0, 5, b""), *[frame(f.CONTINUATION, 0, 5, fragment)] * 6)
    assert client.ended() == (CALM, "more than 5 CONTINUATION frames")


@pytest.mark.parametrize("frames", [1, 2])
def test_the_length_of_a_block(frames):
    """Twice the list; the list is too large then, but it is read, and the request is answered."""
    for size in (2000, 2001):
        client = Client(list_bytes=1000)
        base = client.block([*GET, (b"x", b"")])
        extra = [b"\x00\x01y\x64" + bytes(100)] * ((size - len(base)) // 104)
        rest = size - len(base) - 104 * len(extra)
        block = base + b"".join(extra) + b"\x90" * rest  # one byte each: an indexed field
        head, tail = (block, b"") if frames == 1 else (block[:700], block[700:])
        client.send(frame(f.HEADERS, f.END_STREAM | (f.END_HEADERS if frames == 1 else 0), 1, head))
        if frames == 2:
            client.send(frame(f.CONTINUATION, f.END_HEADERS, 1, tail))
        if size == 2000:
            (refused,) = client.seen()
            assert refused.error.reason is Reason.HEADERS_TOO_LARGE
        else:
            assert client.ended() == (CALM, "a field block has more than 2000 bytes")


def list_of(size, count=0):
    """Fields that count for so many bytes, each with its 32."""
    fields = [*GET, *[(b"x", b"")] * count]
    used = sum(len(name) + len(value) + 32 for name, value in fields)
    return [*fields, (b"y", b"y" * (size - used - 33))]


def test_the_size_of_a_list_with_32_bytes_for_each_field():
    client = Client(list_bytes=1000)
    client.send(client.headers(1, list_of(1000, 10)))
    assert client.seen()[0].target == b"/"
    client.send(client.headers(3, list_of(1001, 10)))
    (refused,) = client.seen()
    assert isinstance(refused, RefusedRequest)
    assert refused.error.reason is Reason.HEADERS_TOO_LARGE
    client.connection.send_head(3, 431, [], is_last=True)
    client.connection.send_head(1, 204, [], is_last=True)
    assert client.is_served(5)


def test_fields_and_each_part_of_a_cookie():
    client = Client(fields=20)
    client.send(client.headers(1, [*GET, *[(b"cookie", b"a=b")] * 16]))
    assert client.seen()[0].fields == [(b"cookie", b"; ".join([b"a=b"] * 16))]
    client.send(client.headers(3, [*GET, *[(b"cookie", b"a=b")] * 17]))
    (refused,) = client.seen()
    assert refused.error.reason is Reason.HEADERS_TOO_LARGE
    assert client.is_served(5)


def test_the_length_of_a_target():
    client = Client()
    client.send(client.headers(1, [*GET[:3], (b":path", b"/" * 1000)]))
    assert len(client.seen()[0].target) == 1000
    client.send(client.headers(3, [*GET[:3], (b":path", b"/" * 1001)]))
    assert client.seen()[0].error.reason is Reason.URI_TOO_LONG


def test_trailers_that_are_too_large():
    client = Client(list_bytes=1000)
    client.send(client.headers(1, POST, is_last=False), client.headers(1, [(b"x", b"x" * 1000)]))
    assert client.was_reset(1) == (CALM, "trailers: header fields larger than 1000 bytes")
    assert client.is_served()


def test_answers_that_the_client_does_not_read():
    client = Client(control_bytes=17 * 5)
    client.send(*[PING] * 5)
    assert client.connection.ended is None
    client.answers()
    client.send(*[PING] * 5)
    assert client.connection.ended is None
    client.send(PING)
    assert client.ended() == (CALM, "more than 85 bytes of answers are not read")


def test_a_frame_is_kept_up_to_its_largest_size():
    """Its header is enough to refuse a larger one."""
    client = Client()
    client.send(client.headers(1, POST, is_last=False))
    client.send((2**14).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01")
    assert client.connection.ended is None
    client.send(bytes(2**14))
    assert client.is_served()
    client.send((2**14 + 1).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01")
    assert client.ended() == (ErrorCode.FRAME_SIZE_ERROR, "a frame has more than 16384 bytes")
