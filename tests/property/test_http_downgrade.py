"""Whatever an HTTP/2 client sends, the upstream reads exactly the HTTP/1.1 request that was judged, or nothing.

What is compared, and that nothing else is there, `support.http2_downgrade` sees to.
"""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http1_stream import golden, written
from support.http2_downgrade import GET, downgraded, downgraded_trailers

CORPUS = [
    *(written(text) for _, _, text in golden("smuggling_requests.txt", 3)),
    *(written(text) for _, _, _, text in golden("smuggling_published.txt", 4)),
    *(written(text) for _, _, _, text in golden("smuggling_responses.txt", 4)),
]

NAMES = [
    *(b"content-length", b"content_length", b"transfer-encoding", b"transfer_encoding", b"te", b"connection", b"host"),
    *(b"expect", b"upgrade", b"cookie", b"authorization", b"destination", b"x-client-email", b"x.client.email"),
    *(b"x-forwarded-for", b"forwarded", b"x-request-id", b"keep-alive", b"trailer", b"x-a", b"user-agent", b"accept"),
    *(b"sec-websocket-key", b"sec_websocket_key", b"sec-websocket-version", b"proxy-connection", b"http2-settings"),
    *(b"x-http-method-override", b"x-original-url", b"Content-Length", b"x a", b"x:a", b"x\r\na", b"", b":path"),
]
VALUES = [
    *(b"0", b"5", b"+5", b"5, 5", b"0x5", b"chunked", b"identity, chunked", b"trailers", b"close", b"100-continue"),
    *(
        b"a",
        b"b",
        b"a:443",
        b"websocket",
        b"h2c",
        b"Basic YQ==",
        b"/x/y",
        b"https://a/x",
        b"",
        b"1.2.3.4",
        b"for=1.2.3.4",
    ),
    *(b"x\r\ny: z", b"x\r\n\r\nGET /admin HTTP/1.1\r\nhost: a", b"x\ny", b"x\x00y", b" x", b"x\t", b"\xff", b"a\tb"),
]
METHODS = [b"GET", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"PROPFIND", b"RPC_IN_DATA", b"get", b"TRACE", b"GET /"]
PATHS = [
    b"/",
    b"/x?y",
    b"/%2e%2e/x",
    b"*",
    b"//b/x",
    b"/x HTTP/1.1\r\nx: y",
    b"/\xff",
    b"http://b/x",
    b"/x;y",
    b"/a b",
    b"",
]
AUTHORITIES = [b"a", b"A:443", b"a:8443", b"b", b"a@b", b"a/x", b"a\r\nx: y", b"[::1]", b"a b", b"", b"a.", b"xn--a"]

texts = st.one_of(st.sampled_from(VALUES), st.binary(max_size=6))
tokens = st.from_regex(rb"[a-z0-9!#$%&'*+.^_`|~-]{1,8}", fullmatch=True)
names = st.one_of(st.sampled_from(NAMES), tokens, st.binary(max_size=4))
fields = st.lists(st.tuples(names, texts), max_size=5)
harmless = st.lists(
    st.tuples(tokens, st.from_regex(rb"([!-~\x80-\xff]([\t -~\x80-\xff]{0,6}[!-~])?)?", fullmatch=True))
)


def pseudo(name, samples, usual):
    """A pseudo-header field; most of the time the usual one."""
    value = st.one_of(*[st.just(usual)] * 3, st.sampled_from(samples), st.binary(max_size=4))
    return value.map(lambda value: [(name, value)])


heads = st.tuples(
    pseudo(b":method", METHODS, b"POST"),
    pseudo(b":scheme", [b"http", b"ftp"], b"https"),
    pseudo(b":authority", AUTHORITIES, b"a"),
    pseudo(b":path", PATHS, b"/x"),
    st.one_of(*[st.just([])] * 6, st.sampled_from([[(b":protocol", value)] for value in VALUES])),
).map(lambda parts: [field for part in parts for field in part])


@settings(max_examples=600, deadline=None)
@given(heads, fields, st.booleans())
def test_any_request(head, listed, has_body):
    downgraded([*head, *listed], has_body=has_body)


@settings(max_examples=300, deadline=None)
@given(harmless, st.booleans(), st.booleans())
def test_requests_that_are_forwarded(listed, has_body, is_tunnel):
    head = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket")] if is_tunnel else GET
    assert downgraded([*head, *listed], has_body=has_body) in {"forwarded", "malformed", "refused"}


@settings(max_examples=500, deadline=None)
@given(fields)
def test_any_trailers(listed):
    downgraded_trailers(listed)


def put(payload):
    """Field lists with the payload at every place of a request."""
    for at, (name, value) in enumerate(GET):
        for changed in (payload, value + payload, value + b" HTTP/1.1\r\n" + payload):
            yield [*GET[:at], (name, changed), *GET[at + 1 :]]
    yield [(b":method", b"CONNECT"), *GET[1:], (b":protocol", payload)]
    yield [*GET, (payload, b"x")]
    yield [*GET, (payload.lower(), b"x")]
    for name in (b"x-a", b"cookie", b"content-length", b"te", b"expect", b"host", b"authorization", b"user-agent"):
        yield [*GET, (name, payload)]
        yield [*GET, (name, b"x\r\n" + payload)]


def lines_of(payload):
    """The payload's own fields, as they would be in HTTP/2: of each line, and of those that have no white space."""
    lines = [line.partition(b":") for line in payload.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    yield [(name, value.strip(b" \t")) for name, _, value in lines]
    yield [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
    yield [(name.lower().strip(b" \t"), value.strip(b" \t\r\n\x0b\x0c")) for name, _, value in lines]


def test_a_corpus_of_smuggling_at_every_place():
    payloads = [payload for payload in CORPUS if b"\n" in payload]
    ends = Counter(downgraded(listed, has_body=True) for payload in payloads for listed in put(payload))
    assert ends["forwarded"] == 0, ends
    assert ends["malformed"] > 10_000, ends


def test_the_fields_of_a_corpus_of_smuggling():
    ends, trailers = Counter(), Counter()
    for payload in CORPUS:
        method, _, rest = payload.partition(b" ")
        target = rest.partition(b" ")[0]
        for listed in lines_of(payload):
            for head in (GET, [(b":method", method), *GET[1:3], (b":path", target)]):
                for has_body in (False, True):
                    ends[downgraded([*head, *listed], has_body=has_body)] += 1
            trailers[downgraded_trailers(listed)] += 1
    assert min(ends.values()) > 100, ends
    assert len(ends) == 3, ends
    assert min(trailers["malformed"], trailers["forwarded"]) > 50, trailers


@pytest.mark.parametrize(
    "value", [b"x\r\ny: z", b"x\ny: z", b"x\ry", b"x\x00", b" x", b"x ", b"x\r\n\r\nGET / HTTP/1.1\r\n\r\n"]
)
def test_a_line_end_never_passes(value):
    """The checks above would see it, if it did."""
    assert downgraded([*GET, (b"x-a", value)], has_body=False) == "malformed"
    assert downgraded_trailers([(b"x-a", value)]) == "malformed"
