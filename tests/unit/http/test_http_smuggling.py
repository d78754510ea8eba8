"""Published request smuggling: what is accepted, how it is framed for the upstream, and what is refused.

The cases are in `tests/golden`; `support.http1_stream` checks of each accepted one that the upstream reads one
request with one Host, one framing field at most, and nothing in our name that we did not write.
"""

import re

import pytest
from support.http1_stream import Stream, golden, legend, parse, pieces, written

from gateway.errors import RequestError
from gateway.http.http1_writer import Http1Writer
from gateway.proxy.exchange.answer import Answer

REQUESTS = golden("smuggling_requests.txt", 3)
PUBLISHED = golden("smuggling_published.txt", 4)
RESPONSES = golden("smuggling_responses.txt", 4)


def outcome(parts):
    stream = Stream()
    for part in parts:
        stream.feed(part)
    return stream.outcome


def answered(method, parts):
    """(outcome, what the client gets)."""
    line = f"{method} / HTTP/1.1\r\nHost: a".encode()
    answer, out = Answer(parse(line + b"\r\n\r\n", len(line)), None, b"id"), b""
    writer = Http1Writer()
    try:
        for part in parts:
            if answer.is_complete:
                answer.is_clean = False
                break
            out += writer.write(answer.feed(part, may_keep_alive=True))
    except RequestError as error:
        return f"refused {error.status}", out
    if answer.response is None:
        return "waits", out
    marks = ("" if answer.is_complete else " waits") + ("" if answer.is_clean else " unclean")
    return f"{answer.response.status} body={answer.bytes_out}{marks}" + (
        "" if answer.response.is_keep_alive else " close"
    ), out


def test_the_corpus_is_whole():
    assert len(REQUESTS) >= 300
    assert len(PUBLISHED) >= 400
    assert len(RESPONSES) >= 80
    for cases in (REQUESTS, PUBLISHED, RESPONSES):
        assert len({case[0] for case in cases}) == len(cases)
    assert len({text for _, _, _, text in PUBLISHED}) == len(PUBLISHED)


def test_each_published_payload_names_its_source():
    known = legend("smuggling_published.txt")
    for name, source, _, _ in PUBLISHED:
        for each in source.split(", "):
            assert each in known or re.fullmatch(r"CVE-\d{4}-\d{4,}", each), name


@pytest.mark.parametrize(("name", "expected", "text"), REQUESTS, ids=[case[0] for case in REQUESTS])
def test_requests(name, expected, text):
    data = written(text)
    assert outcome([data]) == expected, name
    assert outcome(pieces(data)) == expected, f"{name}, split"


@pytest.mark.parametrize(
    ("name", "expected", "text"),
    [(name, expected, text) for name, _, expected, text in PUBLISHED],
    ids=[case[0] for case in PUBLISHED],
)
def test_published_requests(name, expected, text):
    data = written(text)
    assert outcome([data]) == expected, name
    assert outcome(pieces(data)) == expected, f"{name}, split"


@pytest.mark.parametrize(("name", "method", "expected", "text"), RESPONSES, ids=[case[0] for case in RESPONSES])
def test_responses(name, method, expected, text):
    data = written(text)
    for parts in ([data], pieces(data)):
        found, out = answered(method, parts)
        assert found == expected, name
        head = out.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")[0].lower()
        assert head.count(b"content-length:") + head.count(b"transfer-encoding:") <= 1
