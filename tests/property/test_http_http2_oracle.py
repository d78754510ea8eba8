"""Any sequence of frames is read as `h2` reads it, or refused, and the same however its bytes are split."""

import os
import random
import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http2_client import LIMITS
from support.http2_dialogues import dialogue, opened, opened_by_h2, ours, theirs

from gateway.http.http2 import Http2Codec
from gateway.http.http2_frames import CLIENT_PREFACE, WINDOW_UPDATE, settings_frame
from gateway.http.http2_limits import Limits

SOAKED = os.environ.get("SOAK_SEEDS")
SEEDS = [int(seed) for seed in (SOAKED or "1").split()]
# A round of `make soak` takes about two minutes for them, and twenty rounds are a million.
DIALOGUES = 50_000 if SOAKED else 1000

# What the gateway refuses and h2 accepts, or refuses only when the field block is whole. RFC 9113 wants most of it
# refused; the rest can't be written as HTTP/1.1.
STRICTER = re.compile(
    r"^(there is no |the method is not supported|more than one |a CONNECT has|a :protocol is|te is not trailers"
    r"|a field name is not|a field value |:authority and host differ|.* is in the trailers$"
    r"|the request ends before|the body is shorter|a second field block|a malformed content-length"
    r"|a stream depends on itself|a stream is opened behind|a frame is for a stream|a HEADERS frame is not on"
    r"|a PRIORITY_UPDATE frame|a client sent PUSH_PROMISE|setting [89] has the value)"
)
# What h2 refuses and the gateway accepts: (error, frame type). h2 reads ALTSVC, which a client doesn't send, and takes
# the reserved bit of a WINDOW_UPDATE for a part of the number.
LAXER = {("FrameDataMissingError", 0xA), ("InvalidDataError", 0xA), ("ProtocolError", WINDOW_UPDATE)}


def compare(frames):
    """How the reading ended: "same", "both", "stricter", "laxer"."""
    gateway, oracle = opened(), opened_by_h2()
    for frame in frames:
        read, cause = ours(gateway.receive(frame, 0.0))
        expected, error = theirs(oracle, frame)
        if cause and error:
            return "both"
        if cause:
            assert STRICTER.search(cause), (cause, frames)
            return "stricter"
        if error:
            assert (error.partition(":")[0], frame[3]) in LAXER, (error, frames)
            return "laxer"
        assert read == expected, frames
        if read and read[-1][0] == "goaway":
            return "same"  # h2 reads nothing after it
    return "same"


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_are_read_as_h2_reads_them(seed):
    chance = random.Random(seed)
    ends = Counter(compare(dialogue(chance)) for _ in range(DIALOGUES))
    assert ends["same"] > DIALOGUES // 5, ends
    assert ends["both"] > DIALOGUES // 5, ends
    assert ends["stricter"] + ends["laxer"] < DIALOGUES // 4, ends


def read_in(pieces):
    """Everything that a connection says and does."""
    connection = Http2Codec(Limits(**LIMITS))
    events = [event for piece in pieces for event in connection.receive(piece, 0.0)]
    return [str(event) for event in events], connection.take_output(), connection.ended, connection.open_streams


def cut(data, where):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in where)})
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_are_read_the_same_however_they_are_split(seed):
    chance = random.Random(seed)
    for _ in range(DIALOGUES // 5):
        data = bytearray(CLIENT_PREFACE + settings_frame({}) + b"".join(dialogue(chance)))
        for _ in range(chance.choice([0, 0, 1, 2])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        places = [chance.randrange(1000) for _ in range(chance.randint(1, 20))]
        assert read_in(cut(bytes(data), places)) == read_in([bytes(data)]), bytes(data)


@settings(max_examples=200)
@given(st.binary(max_size=100), st.booleans(), st.lists(st.integers(0, 200), max_size=6))
def test_any_bytes_give_events(data, has_preface, where):
    if has_preface:
        data = CLIENT_PREFACE + settings_frame({}) + data
    assert read_in(cut(data, where)) == read_in([data])
    assert read_in([data[at : at + 1] for at in range(len(data))]) == read_in([data])
