"""A worker and the publisher understand each other, and neither takes nonsense for sense."""

import json

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.published import MAX_OCSP_REQUEST_BYTES, Kind, Wanted
from gateway.http.relay import (
    MAX_CONDITION_BYTES,
    MAX_LINE_BYTES,
    Question,
    RelayError,
    Reply,
    question_line,
    read_question,
    read_reply,
    refusal_line,
    reply_line,
)

ASKED = {"kind": "crl", "name": "corp", "request": None, "is_head": False, "is_cacheable": True}
ASKED |= {"if_none_match": None, "if_modified_since": None}
ANSWERED = {"status": 200, "fields": [["Content-Type", "text/plain"]], "length": 7}


@pytest.mark.parametrize(
    "question",
    [
        Question(Wanted(Kind.LIST, "corp"), is_cacheable=True),
        Question(Wanted(Kind.CERTIFICATE, "corp"), True, True, b'"\xe4"', b"Tue, 24 Nov 2026 12:00:00 GMT"),
        Question(Wanted(Kind.OCSP, request=b"\x00" * MAX_OCSP_REQUEST_BYTES)),
    ],
)
def test_a_question_arrives_as_it_was_asked(question):
    line = question_line(question)
    assert line.endswith(b"\n")
    assert len(line) <= MAX_LINE_BYTES
    assert line.count(b"\n") == 1
    assert read_question(line) == question


def test_the_longest_question_fits_into_a_line():
    longest = b"\xff" * MAX_CONDITION_BYTES
    line = question_line(
        Question(Wanted(Kind.OCSP, request=b"0" * MAX_OCSP_REQUEST_BYTES), True, True, longest, longest)
    )
    assert len(line) <= MAX_LINE_BYTES
    assert read_question(line).if_none_match == longest


def test_a_condition_that_is_too_long_is_none():
    line = question_line(Question(Wanted(Kind.LIST, "corp"), if_none_match=b"x" * (MAX_CONDITION_BYTES + 1)))
    assert read_question(line).if_none_match is None


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"kind": "key"},
            {"kind": 1},
            {"name": None},
            {"request": "?"},
            {"request": 1},
            {"is_cacheable": 1},
            {"is_head": 1},
        ),
        *({"if_none_match": 1}, {"if_modified_since": []}, {"request": "MA"}),
    ],
)
def test_nonsense_is_no_question(change):
    assert read_question(json.dumps(ASKED).encode()).wanted == Wanted(Kind.LIST, "corp")
    with pytest.raises(RelayError):
        read_question(json.dumps(ASKED | change).encode())


def test_an_answer_arrives_as_it_was_given():
    reply = Reply(200, (("Content-Type", "application/pkix-crl"), ("ETag", '"a"')), 1 << 24)
    assert read_reply(reply_line(reply)) == reply


def test_a_refusal_arrives_as_an_error():
    with pytest.raises(RequestError) as raised:
        read_reply(refusal_line(RequestError(Reason.NOT_FOUND, "there is no authority 'x'")))
    assert (raised.value.reason, raised.value.cause) == (Reason.NOT_FOUND, "there is no authority 'x'")


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{", b"[]", b"1", b"{}", b"\xff"),
        *(
            json.dumps(ANSWERED | change).encode()
            for change in (
                *({"status": 500}, {"status": "200"}, {"length": -1}, {"length": 1.5}, {"fields": None}),
                *({"fields": [["a"]]}, {"fields": [["a", 1]]}, {"fields": [["a", "b\r\nc: d"]]}, {"fields": ["ab"]}),
                *({"fields": [["a\n", "b"]]}, {"fields": [["a", "ä"]]}, {"fields": [["ä", "b"]]}),
            )
        ),
        json.dumps({"refuse": "because", "cause": "x"}).encode(),
        json.dumps({"refuse": "not_found", "cause": 1}).encode(),
    ],
)
def test_nonsense_is_no_answer(line):
    assert read_reply(json.dumps(ANSWERED).encode()).length_bytes == 7
    with pytest.raises(RelayError):
        read_reply(line)
