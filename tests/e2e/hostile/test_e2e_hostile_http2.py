"""Clients that use HTTP/2 against the gateway: the connection or the stream ends, the log says why, others are served.

Each attack is repeated on several connections. What the worker needs for them is bounded: it reads no more of a flood
than its limit, and its memory grows by less than `MOST_MIB`.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from support.client import context_for
from support.http2_client import setting
from support.http2_wire import StreamResetError, Wire, h2_context
from support.waiting import until

from gateway.http import http2_frames as f
from gateway.http.http2_frames import ErrorCode, frame
from gateway.http.http2_limits import Limits
from gateway.proxy.refusal import MAX_REFUSALS_IN_A_ROW

pytestmark = pytest.mark.e2e

LIMITS = Limits(uri_bytes=0, list_bytes=0, fields=0)
CALM = ErrorCode.ENHANCE_YOUR_CALM
TIMES = 5  # so many times more than the limit
REPEATS = 3
MOST_MIB = 32  # a hundred answers, of which a piece each waits for the client, take twelve
STREAMS = LIMITS.streams
MIB = 1024 * 1024
BOMB_FIELD_BYTES = 4000  # nearly the whole dynamic table
PATH = "/webmail/hostile"


@pytest.fixture(scope="module")
def h2(credentials):
    """A user's, who is served over HTTP/2."""
    return h2_context(context_for(None, credentials["alice"]))


@pytest.fixture
def connect(gateway, h2, outside):
    """Makes one more connection of the test's own address."""
    with contextlib.ExitStack() as connections:
        yield lambda **options: connections.enter_context(Wire(gateway.port, source=outside, context=h2, **options))


@contextlib.contextmanager
def bounded(gateway):
    """The worker's memory grows by so much at most, at its peak."""
    (worker,) = gateway.workers()
    before = _kib(worker, "VmRSS")
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak begins anew
    yield
    grown = (_kib(worker, "VmHWM") - before) / 1024
    assert grown < MOST_MIB, f"{grown:.1f} MiB"


def _kib(pid, key):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(key + ":")).split()[1])


def details(gateway, address):
    """What the log says about each request of this address."""
    return [record["detail"] for record in gateway.log.records() if record["client_ip"] == address]


def reasons(gateway, address, count):
    """The status and the reason of each of these requests."""
    return {(record["status"], record["reason"]) for record in gateway.log.of_address(address, count)}


# floods of frames


def rapid_resets(wire, count):
    """CVE-2023-44487."""
    for at in range(count):
        yield wire.headers(2 * at + 1, wire.get(PATH))
        yield f.rst_stream_frame(2 * at + 1, ErrorCode.CANCEL)


def malformed_requests(wire, count):
    """CVE-2025-8671: the gateway resets them itself."""
    for at in range(count):
        yield wire.headers(2 * at + 1, wire.get(PATH, (b"Upper", b"case")))


def bodies_that_are_too_long(wire, count):
    """CVE-2025-8671, after the request was begun."""
    for at in range(count):
        yield wire.headers(2 * at + 1, wire.get(PATH, (b"content-length", b"1"), method=b"POST"), is_last=False)
        yield frame(f.DATA, 0, 2 * at + 1, b"two")


def second_blocks(wire, count):
    """CVE-2025-8671, by trailers that don't end the request."""
    for at in range(count):
        fields = wire.get(PATH, method=b"POST")
        yield wire.headers(2 * at + 1, fields, is_last=False) + wire.headers(2 * at + 1, fields, is_last=False)


def too_many_streams(wire, count):
    """Those that are over the limit are reset."""
    for at in range(STREAMS + count):
        yield wire.headers(2 * at + 1, wire.get(PATH, method=b"POST"), is_last=False)


def continuations(wire, count):
    """CVE-2024-27316: a block that never ends."""
    yield frame(f.HEADERS, 0, 1, wire.block(wire.get(PATH)))
    for at in range(count):
        yield frame(f.CONTINUATION, 0, 1, wire.block([(b"x-%d" % at, b"x")]))


def empty_continuations(wire, count):
    """CVE-2026-33871."""
    yield frame(f.HEADERS, 0, 1, wire.block(wire.get(PATH)))
    for _ in range(count):
        yield frame(f.CONTINUATION, 0, 1, b"")


def long_block(wire):
    """CONTINUATION frames as large as they may be."""
    yield frame(f.HEADERS, 0, 1, wire.block(wire.get(PATH)))
    for _ in range(LIMITS.continuations):
        yield frame(f.CONTINUATION, 0, 1, (b"\x00\x01x\x7f\x81\x7e" + bytes(381)) * 42)


def changes_of_settings(_, count):
    """CVE-2019-9515."""
    for at in range(count):
        yield frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, at))


def pings(_, count):
    """CVE-2019-9512."""
    for at in range(count):
        yield frame(f.PING, 0, 0, at.to_bytes(8))


def empty_data(wire, count):
    """CVE-2019-9518."""
    yield wire.headers(1, wire.get(PATH, method=b"POST"), is_last=False)
    for _ in range(count):
        yield frame(f.DATA, 0, 1, b"")


def padding_only(wire, count):
    """The same with a full frame of padding."""
    yield wire.headers(1, wire.get(PATH, method=b"POST"), is_last=False)
    for _ in range(count):
        yield frame(f.DATA, f.PADDED, 1, bytes((255,)) + bytes(255))


def windows_of_a_byte(wire, count):
    """CVE-2019-9511: the answer is to leave in frames of one byte."""
    yield frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 1))
    yield wire.headers(1, wire.get(f"{PATH}/large"))
    for _ in range(count):
        yield f.window_update_frame(1, 1)


def priorities(wire, count):
    """CVE-2019-9513."""
    yield wire.headers(1, wire.get(PATH, method=b"POST"), is_last=False)
    for at in range(count):
        yield frame(f.PRIORITY_UPDATE, 0, 0, b"\x00\x00\x00\x01u=%d" % (at % 8))


def unknown_frames(_, count):
    for _ in range(count):
        yield frame(0xEE, 0, 0, b"")


FLOODS = [
    (rapid_resets, LIMITS.client_resets, "resets by the client in 10 s"),
    (malformed_requests, LIMITS.own_resets, "requests that were reset by the gateway in 10 s"),
    (bodies_that_are_too_long, LIMITS.own_resets, "requests that were reset by the gateway in 10 s"),
    (second_blocks, LIMITS.own_resets, "requests that were reset by the gateway in 10 s"),
    (too_many_streams, LIMITS.own_resets, "requests that were reset by the gateway in 10 s"),
    (continuations, LIMITS.continuations, "CONTINUATION frames"),
    (empty_continuations, LIMITS.continuations, "CONTINUATION frames"),
    (changes_of_settings, LIMITS.settings, "SETTINGS frames in 10 s"),
    (pings, LIMITS.pings, "PING frames in 10 s"),
    (empty_data, LIMITS.empty_data, "empty DATA frames in 10 s"),
    (padding_only, LIMITS.empty_data, "empty DATA frames in 10 s"),
    (windows_of_a_byte, LIMITS.small_updates, "small WINDOW_UPDATE frames in 10 s"),
    (priorities, LIMITS.ignored_frames, "frames without effect in 10 s"),
    (unknown_frames, LIMITS.ignored_frames, "frames without effect in 10 s"),
]


@pytest.fixture(autouse=True)
def answers(mail):
    """A mail server that answers at once, and with a large answer."""

    def small(dialogue):
        with contextlib.suppress(OSError, ValueError):  # the request is cut short
            dialogue.read_body()
            dialogue.answer(b"hello")

    def large(dialogue):
        dialogue.read_body()
        with contextlib.suppress(OSError):
            dialogue.answer(bytes(MIB))

    mail.answer(PATH, small)
    mail.answer(f"{PATH}/large", large)


@pytest.mark.parametrize(("flood", "limit", "what"), FLOODS, ids=[flood.__name__ for flood, *_ in FLOODS])
def test_a_flood_ends_its_connection(gateway, outside, connect, bystander, flood, limit, what):  # noqa: PLR0917
    cause = f"more than {limit} {what}"
    with bounded(gateway):
        for _ in range(REPEATS):
            with connect() as wire:
                wire.send(*flood(wire, TIMES * limit))
                assert wire.ended() == (CALM, cause)
            bystander.is_served()
    until(lambda: details(gateway, outside).count(f"HTTP/2: {cause}") == REPEATS, "the log says why")


def test_a_field_block_without_end_ends_its_connection(gateway, outside, connect, bystander):
    """Its frames are as large as they may be, and few."""
    with bounded(gateway), connect() as wire:
        wire.send(*long_block(wire))
        code, cause = wire.ended()
        assert (code, cause.startswith("a field block has more than ")) == (CALM, True)
    bystander.is_served()
    until(lambda: f"HTTP/2: {cause}" in details(gateway, outside), "the log says why")


# requests that are refused


def bomb(wire):
    """CVE-2016-6581: one field of the dynamic table, again and again; 16 KiB stand for 64 MiB."""
    field = (b"x-bomb", b"x" * BOMB_FIELD_BYTES)
    first = wire.block([*wire.get(PATH), field])
    assert wire.block([field])[0] & 0x80, "the field is in the table"
    return first + wire.block([field]) * (f.MAX_FRAME_BYTES - len(first))


def crumbs(wire):
    """CVE-2026-49975: each part of a cookie takes a byte, and far more where it is kept."""
    first = wire.block([*wire.get(PATH), (b"cookie", b"")])
    return first + wire.block([(b"cookie", b"")]) * (f.MAX_FRAME_BYTES - len(first))


def empty_fields(wire):
    """The same with other fields."""
    first = wire.block([*wire.get(PATH), (b"x", b"")])
    return first + wire.block([(b"x", b"")]) * (f.MAX_FRAME_BYTES - len(first))


@pytest.mark.parametrize("block", [bomb, crumbs, empty_fields])
def test_a_request_that_is_small_only_on_the_wire_is_refused(gateway, outside, connect, bystander, block):
    """Many such requests in a row end the connection."""
    with bounded(gateway), connect() as wire:
        for at in range(MAX_REFUSALS_IN_A_ROW):
            wire.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 2 * at + 1, block(wire)))
            status, fields, _ = wire.answer(2 * at + 1)
            assert (status, fields["x-gateway-reason"]) == (431, "headers_too_large")
        assert wire.ended() == (ErrorCode.NO_ERROR, "")
        bystander.is_served()
    assert reasons(gateway, outside, MAX_REFUSALS_IN_A_ROW) == {(431, "headers_too_large")}


def test_refused_requests_in_a_pipeline_end_the_connection(gateway, outside, connect, bystander):
    """Those that had begun are answered; of the rest the client is told that they were not served."""
    with bounded(gateway), connect() as wire:
        wire.send(*[wire.headers(2 * at + 1, wire.get("/x")) for at in range(STREAMS)])
        assert [wire.answer(2 * at + 1)[0] for at in range(STREAMS)] == [403] * STREAMS
        assert wire.ended() == (ErrorCode.NO_ERROR, "")
        goaway = next(one for one in wire.seen if one.type == f.GOAWAY)
        assert goaway.last_stream_id == 2 * STREAMS - 1
        bystander.is_served()
    assert reasons(gateway, outside, STREAMS) == {(403, "denied_by_rule")}


# clients that are slow on purpose


def test_windows_that_never_open_end_their_streams(gateway, outside, connect, bystander):
    """The mail server's connections are free then, and the client may go on."""
    with bounded(gateway), connect(first=f.settings_frame({f.INITIAL_WINDOW_SIZE: 0})) as wire:
        wire.send(*[wire.headers(2 * at + 1, wire.get(f"{PATH}/large")) for at in range(STREAMS)])
        bystander.is_served()
        codes = []
        for at in range(STREAMS):
            with pytest.raises(StreamResetError) as reset:
                wire.answer(2 * at + 1)
            codes.append(reset.value.code)
        assert set(codes) == {ErrorCode.INTERNAL_ERROR}
        wire.send(wire.headers(2 * STREAMS + 1, wire.get(PATH, method=b"HEAD")))
        assert wire.answer(2 * STREAMS + 1)[0] == 200
        bystander.is_served()
    gateway.log.of_address(outside, STREAMS + 1)
    told = [detail for detail in details(gateway, outside) if detail]
    assert told == ["the client read nothing for 6 s"] * STREAMS


def test_windows_that_open_byte_by_byte_end_their_streams(gateway, outside, connect, bystander):
    """Slower than `limits.body_bytes_per_second`, though there is always a little to send."""
    with connect(first=f.settings_frame({f.INITIAL_WINDOW_SIZE: 1})) as wire:
        wire.send(wire.headers(1, wire.get(f"{PATH}/large")))
        done = threading.Event()

        def open_on():
            while not done.wait(0.2):
                with contextlib.suppress(OSError):
                    wire.send(f.window_update_frame(1, 1))

        thread = threading.Thread(target=open_on)
        thread.start()
        try:
            with pytest.raises(StreamResetError):
                wire.answer(1)
        finally:
            done.set()
            thread.join()
        bystander.is_served()
    assert reasons(gateway, outside, 1) == {(200, "request_timeout")}


@pytest.mark.parametrize("begin", [b"", b"x"], ids=["silent", "begun"])
def test_a_hundred_slow_bodies_end(gateway, outside, connect, bystander, begin):
    """Each is told so, and the mail server is free; all that while the connection serves other requests."""
    with bounded(gateway), connect() as wire:
        fields = wire.get(PATH, (b"content-length", b"%d" % MIB), method=b"POST")
        for at in range(STREAMS - 1):
            wire.send(wire.headers(2 * at + 1, fields, is_last=False))
            if begin:
                wire.send(frame(f.DATA, 0, 2 * at + 1, begin))
        wire.send(wire.headers(2 * STREAMS + 1, wire.get(PATH)))
        assert wire.answer(2 * STREAMS + 1)[0] == 200
        bystander.is_served()
        answers = [one for one in wire.seen if one.type == f.HEADERS and one.stream_id < 2 * STREAMS]
        while len(answers) < STREAMS - 1:
            answers.append(wire.until(lambda one: one.type == f.HEADERS))
        assert {dict(one.decoded)[b":status"] for one in answers} == {b"408"}
    records = [record for record in gateway.log.of_address(outside, STREAMS) if record["method"] == "POST"]
    assert {(record["status"], record["reason"]) for record in records} == {(408, "request_timeout")}


def test_a_client_that_reads_nothing_is_cut_off(gateway, outside, connect, bystander):
    """Its windows are as large as can be, but it takes nothing from its socket."""
    first = f.settings_frame({f.INITIAL_WINDOW_SIZE: f.MAX_WINDOW_BYTES})
    with bounded(gateway), connect(first=first, buffer_bytes=4096) as wire:
        wire.send(f.window_update_frame(0, f.MAX_WINDOW_BYTES - f.FIRST_WINDOW_BYTES))
        wire.send(*[wire.headers(2 * at + 1, wire.get(f"{PATH}/large")) for at in range(STREAMS)])
        gateway.log.of_address(outside, STREAMS)
        bystander.is_served()
    assert "the client read nothing for 6 s" in details(gateway, outside)


def test_a_client_that_reads_nothing_and_resets_its_requests_is_cut_off(gateway, outside, connect, bystander):
    """What it has sent is forgotten with each of its requests, whether they had begun or not."""
    first = f.settings_frame({f.INITIAL_WINDOW_SIZE: f.MAX_WINDOW_BYTES})
    with bounded(gateway), connect(first=first, buffer_bytes=4096) as wire:
        wire.send(f.window_update_frame(0, f.MAX_WINDOW_BYTES - f.FIRST_WINDOW_BYTES))
        wire.send(*[wire.headers(2 * at + 1, wire.get(f"{PATH}/large")) for at in range(8)])
        bystander.is_served()
        body = [bytes(f.MAX_FRAME_BYTES)] * (LIMITS.stream_window_bytes // f.MAX_FRAME_BYTES)
        for at in range(8, 8 + LIMITS.client_resets - 1):
            wire.send(wire.headers(2 * at + 1, wire.get(PATH, method=b"POST"), is_last=False))
            wire.send(*[frame(f.DATA, 0, 2 * at + 1, part) for part in body])
            wire.send(f.rst_stream_frame(2 * at + 1, ErrorCode.CANCEL))
        gateway.log.of_address(outside, 8 + LIMITS.client_resets - 1)
        bystander.is_served()
