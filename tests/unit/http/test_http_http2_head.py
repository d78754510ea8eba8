"""The head of an HTTP/2 request means what it would mean over HTTP/1.1."""

import base64

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.headers import (
    ACCEPT,
    AUTHORIZATION,
    CONTENT_LENGTH,
    DESTINATION,
    FORWARDED_FOR,
    HOST,
    KINDS,
    USER_AGENT,
    RequestClassifier,
    value_of,
)
from gateway.http.http1 import HTTP_1_0, HTTP_1_1, HTTP_2, parse_request
from gateway.http.http2_head import request_head
from gateway.http.http2_requests import read_request

CLASSIFY = RequestClassifier(frozenset({b"x-client-email"}))
PSEUDO = {b":method": b"GET", b":scheme": b"https", b":authority": b"Mail.example", b":path": b"/a?b"}


def head_of(*fields, has_body=False, headers=100, **pseudo):
    values = PSEUDO | {b":" + name.encode(): value for name, value in pseudo.items()}
    request = read_request(1, [*values.items(), *fields], has_body=has_body, uri_bytes=100)
    return request_head(request, CLASSIFY, headers=headers)


def refused(*fields, **options):
    with pytest.raises(RequestError) as caught:
        head_of(*fields, **options)
    return caught.value


def websocket(*fields, **options):
    return head_of(*fields, method=b"CONNECT", **({"protocol": b"websocket"} | options))


def test_only_http_1_0_is_false():
    assert [bool(version) for version in (HTTP_1_0, HTTP_1_1, HTTP_2)] == [False, True, True]


def test_an_ordinary_request():
    head = head_of((b"user-agent", b"u"), (b"accept", b"x"), (b"accept", b"y"), (b"x-a", b"1"))
    assert (head.method, head.target, head.version, head.host) == (b"GET", b"/a?b", HTTP_2, b"Mail.example")
    assert b"".join(head.passing) == b"user-agent: u\r\naccept: x\r\naccept: y\r\nx-a: 1\r\n"
    assert head.values[USER_AGENT] == b"u"
    assert head.values[ACCEPT] == b"x, y"
    assert (head.content_length, head.is_chunked, head.has_body) == (None, False, False)
    assert (head.is_keep_alive, head.expects_continue, head.upgrade, head.section) == (True, False, None, b"")


def test_a_head_means_the_same_as_over_http_1_1():
    fields = [
        (b"accept", b"*/*"),
        (b"authorization", b"Basic YQ=="),
        (b"content-length", b"5"),
        (b"cookie", b"a=b; c=d"),
        (b"destination", b"/x"),
        (b"expect", b"100-Continue"),
        (b"te", b"trailers"),
        (b"x-client-email", b"spoofed"),
        (b"x_client_email", b"spoofed"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"forwarded", b"for=1.2.3.4"),
        (b"transfer_encoding", b"chunked"),
        (b"x-real-ip", b"1.2.3.4"),
        (b"priority", b"u=1"),
    ]
    lines = b"".join(b"\r\n%b: %b" % field for field in [*fields, (b"host", b"Mail.example")])
    data = b"POST /a?b HTTP/1.1" + lines + b"\r\n\r\n"
    first = parse_request(data, len(data) - 4, CLASSIFY, uri_bytes=100, headers=100, header_bytes=1000)
    second = head_of(*fields, method=b"POST", has_body=True)
    kept = set(range(KINDS)) - {HOST}
    for name in ("method", "target", "host", "passing", "content_length", "is_chunked", "has_body", "is_keep_alive"):
        assert getattr(second, name) == getattr(first, name), name
    assert (first.expects_continue, second.expects_continue) == (True, True)
    assert (first.upgrade, second.upgrade) == (None, None)
    assert [second.values[kind] for kind in kept] == [first.values[kind] for kind in kept]
    assert second.values[DESTINATION] == b"/x"
    assert second.values[FORWARDED_FOR] == b"1.2.3.4"
    assert second.values[CONTENT_LENGTH] == b"5"


def test_a_body_without_a_length_is_chunked_for_the_upstream():
    head = head_of(method=b"POST", has_body=True)
    assert (head.is_chunked, head.content_length, head.has_body) == (True, None, True)
    head = head_of((b"content-length", b"0"), method=b"POST", has_body=True)
    assert (head.is_chunked, head.content_length, head.has_body) == (False, 0, False)
    head = head_of((b"content-length", b"7"), method=b"POST", has_body=True)
    assert (head.is_chunked, head.content_length, head.has_body) == (False, 7, True)


def test_one_field_too_many():
    fields = [(b"x-a", b"1")] * 3
    assert head_of(*fields, headers=4).passing
    error = refused(*fields, headers=3)
    assert (error.reason, error.cause) == (Reason.HEADERS_TOO_LARGE, "more than 3 header fields")


def test_fields_that_may_come_once():
    error = refused((b"authorization", b"Basic YQ=="), (b"authorization", b"Basic Yg=="))
    assert (error.reason, error.cause) == (Reason.BAD_REQUEST, "more than one authorization")
    assert refused((b"expect", b"100-continue"), (b"expect", b"")).reason == Reason.BAD_REQUEST


def test_another_expectation():
    assert refused((b"expect", b"magic")).reason == Reason.EXPECTATION_FAILED


def test_an_empty_expectation_expects_nothing():
    assert not head_of((b"expect", b""), has_body=True).expects_continue


# extended CONNECT


def test_a_websocket_becomes_the_get_of_http_1_1():
    head = websocket((b"sec-websocket-version", b"13"), (b"origin", b"https://mail.example"), has_body=True)
    assert (head.method, head.target, head.upgrade) == (b"GET", b"/a?b", b"websocket")
    assert (head.content_length, head.is_chunked, head.has_body) == (None, False, False)
    assert value_of(head.passing, b"sec-websocket-version") == b"13"
    assert value_of(head.passing, b"origin") == b"https://mail.example"
    assert value_of(head.passing, b":protocol") is None


def test_each_websocket_has_a_fresh_key():
    keys = [value_of(websocket(has_body=True).passing, b"sec-websocket-key") for _ in range(2)]
    assert [len(base64.b64decode(key, validate=True)) for key in keys] == [16, 16]
    assert keys[0] != keys[1]


def test_the_clients_key_is_not_sent():
    fields = [(b"sec-websocket-key", b"mine"), (b"x-a", b"1"), (b"sec_websocket_key", b"mine"), (b"x-b", b"2")]
    head = websocket(*fields, has_body=True)
    assert b"mine" not in head.passing
    assert head.passing[::4] == [b"x-a", b"x-b", b"Sec-WebSocket-Key"]


def test_the_name_of_the_protocol_has_no_case():
    assert websocket(protocol=b"WebSocket").upgrade == b"websocket"


@pytest.mark.parametrize("protocol", [b"connect-udp", b"h2c", b"websockets", b"webtransport"])
def test_other_protocols_are_refused(protocol):
    assert refused(method=b"CONNECT", protocol=protocol, has_body=True).reason == Reason.BAD_REQUEST


@pytest.mark.parametrize("length", [b"0", b"5"])
def test_a_websocket_has_no_length(length):
    error = refused((b"content-length", length), method=b"CONNECT", protocol=b"websocket", has_body=True)
    assert error.reason == Reason.BAD_REQUEST


def test_credentials_and_expectations_are_read_as_ever():
    head = websocket((b"authorization", b"Basic YQ=="), (b"expect", b"100-continue"), has_body=True)
    assert head.values[AUTHORIZATION] == b"Basic YQ=="
    assert head.expects_continue
