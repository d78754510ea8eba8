"""What HTTP/2 clients send, right and wrong: seeded sequences of frames, and how another library reads them."""

from __future__ import annotations

import random

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
from support.http2_client import GET, LIMITS, setting

from gateway.http import http2_frames as f
from gateway.http.http2 import Http2Codec
from gateway.http.http2_limits import Limits
from gateway.http.http2_requests import Request
from gateway.http.http2_streams import ClientGoesAway, ConnectionEnded, Data, End, RefusedRequest, Reset

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload

ORDINARY = [
    *[(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"accept", b"*/*"), (b"te", b"trailers"), (b"host", b"mail.example")],
    *[(b"user-agent", b"Mozilla/5.0"), (b"priority", b"u=1, i"), (b"x-empty", b"")],
]
HOSTILE = [
    *[(b"connection", b"close"), (b"te", b"gzip"), (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c")],
    *[(b"X-Upper", b"1"), (b"", b"empty"), (b"x y", b"1"), (b"x:y", b"1"), (b":extra", b"1"), (b":status", b"200")],
    *[(b"x-line", b"a\r\nb: c"), (b"x-zero", b"\x00"), (b"x-space", b" a"), (b"x-space", b"a\t"), (b"x-high", b"\xff")],
    *[(b"host", b"other.example"), (b":path", b"/second"), (b":protocol", b"websocket"), (b"content-length", b"-1")],
    *[(b"content-length", b"3"), (b"content-length", b"8"), (b":method", b"CONNECT"), (b"keep-alive", b"1")],
]
PSEUDO = [
    *[(b":path", b""), (b":path", b"*"), (b":path", b"a"), (b":method", b"POST"), (b":method", b"CONNECT")],
    *[(b":scheme", b"http"), (b":scheme", b"ftp"), (b":authority", b"a@b"), (b":method", b"get"), (b":method", b"")],
]
NUMBERS = [0, 1, 100, 16_383, 16_384, 65_535, 2**24 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def fields(chance: random.Random) -> list[tuple[bytes, bytes]]:
    """A request's fields, in one of four cases with a fault."""
    listed = [*GET, *chance.sample(ORDINARY, chance.randint(0, 4))]
    if chance.random() < 0.75:
        return listed
    match chance.randrange(5):
        case 0:
            listed.insert(chance.randint(0, len(listed)), chance.choice(HOSTILE))
        case 1:
            del listed[chance.randrange(len(listed))]
        case 2:
            listed.append(chance.choice(listed))
        case 3:
            name, value = chance.choice(PSEUDO)
            listed = [(each, value if each == name else before) for each, before in listed]
        case _:
            chance.shuffle(listed)
    return listed


def request(chance: random.Random, encoder: hpack.Encoder, stream_id: int) -> list[Frame]:
    """The frames of a request, with or without a body, padding, continuations and trailers."""
    listed = fields(chance)
    has_body = chance.random() < 0.5
    sizes = chance.choice([(8,), (3, 5), (0,), (2,), (4, 4), (1, 0, 7), (100,)])
    if has_body and sum(sizes) == 8 and chance.random() < 0.7:
        listed.append((b"content-length", b"8"))
    frames: list[Frame] = head(chance, stream_id, encoder.encode(listed), has_end=not has_body)
    if has_body:
        has_trailers = chance.random() < 0.3
        for at, size in enumerate(sizes):
            flags = f.END_STREAM if at == len(sizes) - 1 and not has_trailers else 0
            payload = bytes(size)
            if chance.random() < 0.2:
                flags |= f.PADDED
                payload = b"\x02" + payload + bytes(2)
            frames.append((f.DATA, flags, stream_id, payload))
        if has_trailers:
            listed = chance.choice([[(b"x-sum", b"1")], [(b"x-sum", b"1")], [], [(b":path", b"/")], [(b"X", b"y")]])
            frames += head(chance, stream_id, encoder.encode(listed), has_end=chance.random() < 0.9)
    return frames


def head(chance: random.Random, stream_id: int, block: bytes, *, has_end: bool) -> list[Frame]:
    flags = f.END_STREAM if has_end else 0
    if chance.random() < 0.2:
        flags |= f.HAS_PRIORITY
        block = b"\x00\x00\x00" + bytes([chance.choice([0, 0, 0, 0, 3, stream_id % 256])]) + b"\x10" + block
    if chance.random() < 0.8:
        return [(f.HEADERS, flags | f.END_HEADERS, stream_id, block)]
    cut = chance.randint(5, max(5, len(block)))
    return [(f.HEADERS, flags, stream_id, block[:cut]), (f.CONTINUATION, f.END_HEADERS, stream_id, block[cut:])]


def other(chance: random.Random, stream_id: int) -> Frame:
    """A frame that is not part of a request."""
    number = chance.choice(NUMBERS).to_bytes(4, "big")
    match chance.randrange(8):
        case 0:
            return (f.PING, chance.choice([0, 0, f.ACK]), 0, bytes(8))
        case 1:
            return (f.SETTINGS, 0, 0, setting(chance.randint(1, 10), chance.choice(NUMBERS)))
        case 2:
            increment = chance.choice([b"\x00\x00\x04\x00", b"\x00\x00\x00\x01", number])
            return (f.WINDOW_UPDATE, 0, chance.choice([0, stream_id]), increment)
        case 3:
            return (f.RST_STREAM, 0, stream_id, number)
        case 4:
            return (f.PRIORITY, 0, stream_id, b"\x00\x00\x00\x00\x10")
        case 5:
            return (0xEE, chance.randrange(256), stream_id, bytes(4))
        case 6:
            return (f.SETTINGS, f.ACK, 0, b"")
        case _:
            return (f.GOAWAY, 0, 0, bytes(4) + number)


def mutated(chance: random.Random, frames: list[Frame]) -> list[Frame]:
    """The frames with one change."""
    at = chance.randrange(len(frames))
    kind, flags, stream_id, payload = frames[at]
    match chance.randrange(8):
        case 0:
            kind = chance.randrange(0x11)
        case 1:
            flags ^= 1 << chance.randrange(8)
        case 2:
            stream_id = chance.choice([0, 1, 2, 3, 5, 7, 2**31 - 1])
        case 3:
            payload = payload[: chance.randint(0, len(payload))]
        case 4:
            payload += bytes(chance.randint(1, 9))
        case 5 if payload:
            place = chance.randrange(len(payload))
            payload = payload[:place] + bytes([chance.randrange(256)]) + payload[place + 1 :]
        case 6:
            return frames[:at] + frames[at + 1 :]
        case _:
            return [*frames[: at + 1], frames[chance.randrange(len(frames))], *frames[at + 1 :]]
    return [*frames[:at], (kind, flags, stream_id, payload), *frames[at + 1 :]]


def dialogue(chance: random.Random) -> list[bytes]:
    """Frames behind the preface: some requests, other frames between them, and up to three changes."""
    encoder = hpack.Encoder()
    frames: list[Frame] = []
    for at in range(chance.randint(1, 4)):
        frames += request(chance, encoder, 2 * at + 1)
        if chance.random() < 0.5:
            frames.insert(chance.randint(0, len(frames)), other(chance, 2 * chance.randint(0, at) + 1))
    for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
        if frames:
            frames = mutated(chance, frames)
    return [f.frame(*each) for each in frames]


def opened() -> Http2Codec:
    connection = Http2Codec(Limits(**LIMITS))
    assert connection.receive(f.CLIENT_PREFACE + f.settings_frame({}), 0.0) == []
    return connection


def opened_by_h2() -> h2.connection.H2Connection:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(f.CLIENT_PREFACE + f.settings_frame({}))
    connection.data_to_send()
    return connection


def joined(listed) -> list[tuple[bytes, bytes]]:
    """Fields in any order, cookies joined, without Host."""
    cookies = [value for name, value in listed if name == b"cookie"]
    rest = [(name, value) for name, value in listed if name not in {b"cookie", b"host"}]
    return sorted([*rest, (b"cookie", b"; ".join(cookies))])


def ours(events) -> tuple[list[object], str]:
    """(what was read, the cause of an error)."""
    read: list[object] = []
    for event in events:
        match event:
            case Request():
                read.append((event.stream_id, event.method, event.target, event.authority, joined(event.fields)))
            case Data():
                read.append((event.stream_id, event.payload))
            case End():
                read.append((event.stream_id, "end", event.trailers))
            case Reset(by_client=True):
                read.append((event.stream_id, "reset", event.code))
            case ClientGoesAway():
                read.append(("goaway", event.code))
            case Reset() | ConnectionEnded():
                return read, event.cause
            case RefusedRequest():
                return read, event.error.cause
    return read, ""


def theirs(connection: h2.connection.H2Connection, data: bytes) -> tuple[list[object], str]:
    """The same of h2, which raises, or resets a stream."""
    try:
        events = connection.receive_data(data)
    except h2.exceptions.ProtocolError as error:
        return [], f"{type(error).__name__}: {error}"
    read = [told for event in events if (told := of_h2(event, events))]
    sent = connection.data_to_send()
    at = 0
    while at < len(sent):
        upper, lower, kind, _, _ = f.unpack_frame_header(sent, at)
        if kind == f.RST_STREAM:
            return read, "the stream was reset"
        at += f.FRAME_HEADER_BYTES + (upper << 8 | lower)
    return read, ""


def of_h2(event, events) -> tuple[object, ...] | None:
    match event:
        case h2.events.RequestReceived():
            listed = [(bytes(name), bytes(value)) for name, value in event.headers]
            pseudo = {name: value for name, value in listed if name.startswith(b":")}
            host = pseudo.get(b":authority", dict(listed).get(b"host"))
            rest = joined([field for field in listed if not field[0].startswith(b":")])
            return (event.stream_id, pseudo[b":method"], pseudo.get(b":path"), host, rest)
        case h2.events.DataReceived(data=payload) if payload:
            return (event.stream_id, payload)
        case h2.events.StreamEnded():
            trailers = [each.headers for each in events if isinstance(each, h2.events.TrailersReceived)]
            return (event.stream_id, "end", [(bytes(name), bytes(value)) for each in trailers for name, value in each])
        case h2.events.StreamReset(remote_reset=True):
            return (event.stream_id, "reset", int(event.error_code))
        case h2.events.ConnectionTerminated():
            return ("goaway", int(event.error_code))
    return None
