"""Any bytes give a head or the module's own error, the same however they are split, and nothing stays behind."""

import contextlib
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from support.http1_stream import Stream, golden, parse, written

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.fields import FieldsError, parse_fields
from gateway.http.headers import ResponseClassifier
from gateway.http.http1 import END_OF_HEAD, parse_response

GOOD = b"Host: a\r\nX-Y: z\r\n\r\n"
READ = [(b"Host", b"a"), (b"X-Y", b"z")]
REQUESTS = [data for case in golden("smuggling_requests.txt", 3) if len(data := written(case[2])) < 1000]
RESPONSES = [data for case in golden("smuggling_responses.txt", 4) if len(data := written(case[3])) < 1000]

# What smuggling is made of, so that random streams get past the first line.
FRAGMENTS = [
    *(b"GET ", b"POST /x HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: a\r\n", b"Content-Length: 5\r\n", b"hello"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close, X-A\r\n", b"Upgrade: websocket\r\n", b"X-A: b\r\n"),
    *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b":", b","),
    *(b"Content-Length: 0\r\n", b"content_length: 7\r\n", b"Expect: 100-continue\r\n", b"X-Forwarded-For: 1.2.3.4\r\n"),
    *(b"Transfer-Encoding : chunked\r\n", b"HTTP/1.1 200 OK\r\n", b"\xff", b"http://a/x", b";a=b"),
]
streams = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=3)), max_size=16).map(b"".join),
    st.tuples(st.sampled_from(REQUESTS), st.sampled_from(REQUESTS)).map(b"".join),
)
changes = st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=3)
places = st.lists(st.integers(0, 999), max_size=6)


_REASON = re.compile(r"refused \w+$")


def changed(data, where):
    data = bytearray(data)
    for place, value in where:
        if data:
            data[place % len(data)] = value
    return bytes(data)


def cut(data, where):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in where)})
    return [data[start:end] for start, end in pairwise(edges)]


def read(pieces):
    stream = Stream()
    for piece in pieces:
        stream.feed(piece)
    return stream


@settings(max_examples=500, deadline=None)
@given(streams, changes, places)
def test_any_stream_is_judged_the_same_however_it_is_split(data, where, edges):
    """That no other exception leaves, and that the upstream reads one framing at most, `Stream` sees to."""
    data = changed(data, where)
    whole, split = read([data]), read(cut(data, edges))
    assert split.upstream_heads == whole.upstream_heads
    # What can't become a good head is refused sooner when it comes in pieces, and not always for the same reason.
    assert _REASON.sub("refused", split.outcome) == _REASON.sub("refused", whole.outcome)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=100), st.sampled_from(RESPONSES)), changes)
def test_any_answer(data, where):
    data = changed(data, where) + END_OF_HEAD
    end = data.index(END_OF_HEAD)
    try:
        head = parse_response(data, end, ResponseClassifier())
    except RequestError as error:
        reason = error.reason
    else:
        reason = Reason.UPSTREAM_BAD_RESPONSE
        assert 100 <= head.status <= 599
        assert not (head.is_chunked and head.content_length is not None)
        assert b"\r" not in b"".join(head.passing).replace(b"\r\n", b"")
    assert reason is Reason.UPSTREAM_BAD_RESPONSE


sections = st.one_of(
    st.binary(max_size=100),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=3)), max_size=8).map(b"".join),
    st.sampled_from(RESPONSES),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(sections, max_size=4), st.booleans())
def test_no_section_leaves_anything_to_the_next(garbage, ends):
    for section in garbage:
        with contextlib.suppress(FieldsError):
            parse_fields(section + END_OF_HEAD if ends else section)
        assert parse_fields(GOOD) == READ


token = st.text("ABCXYZabcxyz019-_!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
visible = st.sampled_from([*range(0x21, 0x7F), *range(0x80, 0x100)])
value = (
    st.lists(st.one_of(visible, st.sampled_from(b" \t")), max_size=20).map(bytes).map(lambda text: text.strip(b" \t"))
)
ordinary = st.tuples(token.map(lambda name: b"X-O-" + name), value)
targets = st.lists(visible, max_size=30).map(lambda characters: b"/" + bytes(characters))


@settings(max_examples=300, deadline=None)
@given(
    st.from_regex(r"[A-Z][A-Z0-9_-]{0,31}", fullmatch=True).filter(lambda method: method != "CONNECT"),
    targets,
    st.lists(ordinary, max_size=10),
    st.one_of(st.none(), st.integers(0, 10**18 - 1), st.just("chunked")),
)
def test_a_well_formed_head_is_read_as_it_was_written(method, target, fields, framing):
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: a", *(b"%b: %b" % field for field in fields)]
    if framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
    elif framing is not None:
        lines.append(b"Content-Length: %d" % framing)
    data = b"\r\n".join([*lines, b"", b""])
    head = parse(data, len(data) - len(END_OF_HEAD))
    assert (head.method, head.target, head.host) == (method.encode(), target, b"a")
    assert head.is_chunked == (framing == "chunked")
    assert head.content_length == (None if framing == "chunked" else framing)
    assert b"".join(head.passing) == b"".join(b"%b: %b\r\n" % field for field in fields)
